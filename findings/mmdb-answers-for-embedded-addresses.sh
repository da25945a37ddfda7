#!/usr/bin/env bash
# MaxMind DB files: an IPv6 address is looked up as the IPv4 address that it has
# inside, and a wide network that is inserted late erases the narrow ones.
#
# Versions: github.com/maxmind/mmdbwriter v1.2.0, github.com/oschwald/maxminddb-golang/v2
#   v2.9.1, Go 1.26 or newer; RFC 3056 (6to4), RFC 4380 (Teredo).
#
# Guess: a file has the data that was put in, the longest prefix wins as in a
#   routing table, ::/0 is for IPv6, and 2002::/16 has nothing if nothing was put there.
# Behaviour: IPv4 lives at ::/96 of one tree, and ::ffff:0:0/96, 2001::/32 and
#   2002::/16 are aliases of it, so 2002:808:808:: has the record of 8.8.8.8; an
#   insertion into an alias or into a reserved range (10/8, 100.64/10, 2001:db8::/32)
#   is an error, unless the whole tree is. There is no longest prefix when a
#   file is written: what comes later replaces, so ::/0 at the end also replaces all of
#   IPv4, and the reserved ranges stay empty below it.
# Matters: a deny list by country is decided for a 6to4 or Teredo client by an
#   address that it need not have; a "default" row at the end of a list turns a
#   geofence into one country; a file for the own network needs
#   IncludeReservedNetworks, else its clients have no record at all.
#
# Output seen:
#   8.8.8.8                  narrow
#   ::ffff:8.8.8.8           narrow
#   2002:808:808::1          narrow
#   2001:0:808:808::1        narrow
#   64:ff9b::8.8.8.8         none
#   2a00::1                  none
#   10.0.0.1                 none
#   after 0.0.0.0/0 and ::/0:
#   8.8.8.8                  wide6
#   2a00::1                  wide6
#   10.0.0.1                 none
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module finding

go 1.26

require (
	github.com/maxmind/mmdbwriter v1.2.0
	github.com/oschwald/maxminddb-golang/v2 v2.9.1
)
MOD
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
)

func main() {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "try", RecordSize: 24})
	if err != nil {
		panic(err)
	}
	insert := func(network, name string) {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			panic(err)
		}
		if err := tree.Insert(n, mmdbtype.String(name)); err != nil {
			panic(err)
		}
	}
	show := func(addresses ...string) {
		var file bytes.Buffer
		if _, err := tree.WriteTo(&file); err != nil {
			panic(err)
		}
		db, err := maxminddb.OpenBytes(file.Bytes())
		if err != nil {
			panic(err)
		}
		for _, a := range addresses {
			name := "none"
			if err := db.Lookup(netip.MustParseAddr(a)).Decode(&name); err != nil {
				panic(err)
			}
			fmt.Printf("%-24s %s\n", a, name)
		}
	}
	insert("8.8.0.0/16", "wider")
	insert("8.8.8.0/24", "narrow")
	show("8.8.8.8", "::ffff:8.8.8.8", "2002:808:808::1", "2001:0:808:808::1", "64:ff9b::8.8.8.8", "2a00::1", "10.0.0.1")
	insert("0.0.0.0/0", "wide4")
	insert("::/0", "wide6")
	fmt.Println("after 0.0.0.0/0 and ::/0:")
	show("8.8.8.8", "2a00::1", "10.0.0.1")
}
GO
go mod tidy 2>/dev/null
go run . | tee seen
cat >want <<'TXT'
8.8.8.8                  narrow
::ffff:8.8.8.8           narrow
2002:808:808::1          narrow
2001:0:808:808::1        narrow
64:ff9b::8.8.8.8         none
2a00::1                  none
10.0.0.1                 none
after 0.0.0.0/0 and ::/0:
8.8.8.8                  wide6
2a00::1                  wide6
10.0.0.1                 none
TXT
diff want seen || { echo changed; exit 1; }
