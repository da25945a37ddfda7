package httpsig

import (
	"net/http"
	"testing"
	"time"
)

// elsewhere are signatures with the key of RFC 9421 appendix B.1.4 of one
// request, or the answer to it, by code that shares nothing with ours:
// http-message-signatures 1.0.6 for Node.
var elsewhere = []struct {
	components, signature string
	response              bool
}{
	{`()`, "NIWeo/BLenwo8NzchLQAXgqtJLZL1/ObDlOI/qY2X0/9ZOM9AopmttIf4VdC1+SbQjgcGJM1XboF/XDrTj3ZAg==", false},
	{`("@method" "@authority" "@path" "@query" "content-digest")`, "Y+YBH0Oxyl+gTpNW/jT92g0/OzpTyYxKMtMLYYDoN/S6elyMpSKeFsYjmTVO0pwVJ9RtsuZXEpOGFHRgWsf0Bg==", false},
	{`("@method" "@target-uri" "content-digest" "content-type")`, "ofHMfL9lps4Q68QaulFIxZrWp9KU4ESC509npHhjoNt7QWhqJRaSw52Kq3tzpugS6aKX83euRKD0pCKt2vOBBA==", false},
	{`("@scheme" "@request-target" "date" "host")`, "zxIkPJEWgKLlWI02RgSCmBTVwxWV3IowKwNksJ6NVmSuea6cs3QyDCj55CIgLdlgLcg+TEE3WBb21kGgvV8KBA==", false},
	{`("@query-param";name="x")`, "4JXcGm/3OVt4h0PQ4ige7cpdzunir65jN3lPKNDNe4tH87hRoxVc7+Xe1GTYES7crlyxcSlJNN43jbGbNMdICg==", false},
	{`("@query-param";name="y")`, "MVHlK3eeXKkIInyGOTUmCDwQu0xpOTpfZSI9KlvIVmyAeqz2HdrDNfNtBoe1Lms6UXdXD66WCi1d3rEKPXfwCQ==", false},
	{`("@query-param";name="z%20z")`, "mkxFHY8QzbGVujFpZkTgFFVcLHGTXOTidF3duqJvrrNi5burzLTtLdq4xc+WBuYj04sL4/XFZ+dCZmvSKWk4Aw==", false},
	{`("@query-param";name="e")`, "UiKRO0hw1+LVtyPjl0r+WFJ3lzv5Ds7ONmBu7uII21yO50zL7DE6X9uSgLgLg21iDRnA6ypWupTpYtw+9+YjCA==", false},
	{`("x-dict")`, "3F45t0qJlJXlw7q/bP4hZxpOat1nlUtHM3OOw51+SnYtU6eA3VYBuGV+GmpgSIbLH1idPSG1sVyTTyVLpz3oDQ==", false},
	{`("x-dict";sf)`, "6FRXbWmi6FQqhmhoqe02FeOupVQD14Aw0GLLAMkrC+f/oXZyWv0Z0EyQXftxai7GORrut2b8aFtXdSKYmUdFCQ==", false},
	{`("x-dict";key="b")`, "HGy/NToTJSrjULZu9nSZ+QynMrg00JcaOWqvq2GTxL1B9Lo1wq3mGQzekrCLaZE4kzjPH7aheSmtqVLTI1qSDw==", false},
	{`("x-dict";key="c")`, "fYr7tuyiOhu3BQPQOvbVdAxNF0azEzcKnFAM5fTXHUN1nBg3WR0g+EOK5I8EqodEvWkUxuVU6T6qHyrZk7YqCg==", false},
	{`("x-dict";key="d")`, "nG0NE2usYcx8NXBGeWWBKe4KPu+84J5dRTupVrDF5sMPDwqx8hL2esmfef3zyL3fOG0QD4U7KoulAB20wzTiBQ==", false},
	{`("x-two")`, "7iBERWxttSxs4kkakAPRf1rSR75sOKBwehG8dbqeiK0327DaEpp7C+8nyVCkZ4k4hejD3ejIZs3qwapiVqkyBA==", false},
	{`("x-two";bs)`, "SbRL31MVNRu5aeDOC727DxLy7IWhqszQ9s5TVHZQv9jG8svXMfNpboj9+gJVdUBF1KltR+q6V+No758Yj6/dDQ==", false},
	{`("x-empty")`, "CFbwegF+yWayRME5UmmgZQhbAVKuKXAWuM+HDNLIV7+mRN2FqoV7gfD6NxdbA9exiPv70Y/CUE8GN/dRasOACQ==", false},
	{`("x-empty";bs)`, "b/PzeUMQmNy9bB698IoqkmgaWr2/yL+xWvyjotLO5j7LWPn+S/KuvzDodn+rHp8lFxKg+ZZ8UlpNQelQsmrRBQ==", false},
	{`("@status" "content-type" "@method";req "@authority";req "@path";req "content-digest";req "x-dict";key="b";req "@query-param";name="x";req)`, "fWuIVwyf1xASJB8bxiTjFQde1HHoyAqITd1om4dNMFVYnUXAKEwYd1I4ORhYgI8kHGtA2Z0eLfVHoX1Ej+aaCw==", true},
}

func TestSignaturesOfAnotherImplementationVerify(t *testing.T) {
	signed := time.Unix(1618884473, 0)
	key := mustKey(t, "k", "ed25519", []byte(testKeyEd25519Public))
	for _, c := range elsewhere {
		m := &Message{
			Method: "POST", Scheme: "https", Authority: "example.com",
			Path: "/a%20b/c", Query: "x=1&y=a%20b&z%20z=%C3%A9&e=", HasQuery: true,
			Header: http.Header{
				"Date": {"Tue, 20 Apr 2021 02:07:55 GMT"}, "Content-Type": {"application/json"}, "Content-Digest": {requestDigest},
				"X-Dict": {" a=1,   b=2;x=1;y=2, c=(a   b   c), d"}, "X-Two": {"one ", " two, three"}, "X-Empty": {""},
			},
		}
		in := c.components + `;created=1618884473;expires=1618884773;keyid="k";alg="ed25519";nonce="n\"\\1";tag="app"`
		if c.response {
			in = c.components + `;created=1618884473;keyid="k"`
			m = &Message{Status: 200, Request: m, Header: http.Header{"Content-Type": {"text/plain"}}}
		}
		with(m, "sig1", in, c.signature)
		r, err := Verify(m, anything(), keyMap{"k": key}, signed)
		if err != nil {
			t.Errorf("%s: %s", c.components, err.(*Error).Reason)
			continue
		}
		if !c.response && (r.Nonce != `n"\1` || r.Tag != "app" || !r.Expires.Equal(signed.Add(5*time.Minute))) {
			t.Errorf("%s: %+v", c.components, r)
		}
	}
}
