package mask

import (
	"slices"
	"strconv"
	"time"
)

// idCardFormat is a resident identity number of GB 11643: six digits of a
// region (GB/T 2260), a date of birth, three digits and a check character. It is
// taken as one number, which is encrypted as 14 digits until it is one again.
type idCardFormat struct{}

// provinces are the first two digits of GB/T 2260, with 83 of the residence
// permits for people from Taiwan.
var provinces = []byte{
	11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46,
	50, 51, 52, 53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83,
}

var (
	firstBirth = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	birthDays  = uint64(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Sub(firstBirth) / (24 * time.Hour))
	idCards    = uint64(len(provinces)) * 10_000 * birthDays * 1000
)

const idCardNumerals = 14

func (idCardFormat) parse(p *piece) bool {
	if !IsIDCard(p.core) {
		return false
	}
	part := func(from, to int) uint64 {
		v, _ := strconv.ParseUint(string(p.core[from:to]), 10, 32) // IsIDCard has seen the digits
		return v
	}
	province := slices.Index(provinces, byte(part(0, 2)))
	birth, err := time.Parse("20060102", string(p.core[6:14]))
	if err != nil || province < 0 || birth.Before(firstBirth) {
		return false
	}
	day := uint64(birth.Sub(firstBirth) / (24 * time.Hour))
	if day >= birthDays {
		return false
	}
	v := ((uint64(province)*10_000+part(2, 6))*birthDays+day)*1000 + part(14, 17)
	p.radix, p.x = 10, append(p.x, make([]uint16, idCardNumerals)...)
	for i := idCardNumerals - 1; i >= 0; i-- {
		p.x[i] = uint16(v % 10)
		v /= 10
	}
	return true
}

func (p *piece) idCard() (v uint64) {
	for _, n := range p.x {
		v = v*10 + uint64(n)
	}
	return v
}

func (f idCardFormat) valid(p *piece) bool {
	if p.idCard() >= idCards {
		return false
	}
	f.write(p)
	return !p.number || isDigit(p.core[17])
}

func (idCardFormat) write(p *piece) {
	v := p.idCard()
	serial, v := v%1000, v/1000
	birth, v := firstBirth.AddDate(0, 0, int(v%birthDays)), v/birthDays
	put := func(to []byte, v uint64) {
		for i := len(to) - 1; i >= 0; i-- {
			to[i] = byte('0' + v%10)
			v /= 10
		}
	}
	put(p.core[0:2], uint64(provinces[v/10_000]))
	put(p.core[2:6], v%10_000)
	put(p.core[6:14], uint64(birth.Year()*10_000+int(birth.Month())*100+birth.Day()))
	put(p.core[14:17], serial)
	p.core[17] = idCardCheck(p.core)
}
