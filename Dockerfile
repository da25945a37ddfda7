# The caddy binary with caddy-moat, run by a user without rights. See
# docs/operations.md for the volumes that it needs.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN go build -o /tmp/build ./integration/build && \
	GOOS=$TARGETOS GOARCH=$TARGETARCH /tmp/build -o /out/caddy
RUN mkdir -p /out/data /out/config /out/audit

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/caddy /usr/bin/caddy
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/config /config
COPY --from=build --chown=65532:65532 /out/audit /var/log/moat
ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config
USER 65532:65532
# A user without rights cannot listen below 1024 everywhere: set http_port and
# https_port, or grant NET_BIND_SERVICE.
EXPOSE 8080 8443 8443/udp
VOLUME ["/data", "/var/log/moat"]
ENTRYPOINT ["/usr/bin/caddy"]
CMD ["run", "--config", "/etc/caddy/Caddyfile"]
