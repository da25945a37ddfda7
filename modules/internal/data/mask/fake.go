package mask

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faker puts made-up values in the place of true ones, for environments where
// those must not be: the same value always has the same one, which has its form
// and check digits, and belongs to nobody. It cannot be undone. Its methods may
// be called from several goroutines.
type Faker struct {
	kind string
	key  []byte
	make func(dst []byte, d *draw, text []byte) []byte
}

var fakers = map[string]func(dst []byte, d *draw, text []byte) []byte{
	"name":      chineseName,
	"name_en":   englishName,
	"email":     fakeEmail,
	"mobile":    fakeMobile,
	"id_card":   fakeIDCard,
	"bank_card": fakeCard,
	"uscc":      fakeUSCC,
	"date":      fakeDate,
	"ip":        fakeIP,
}

// FakeKinds returns the names of the kinds, sorted.
func FakeKinds() []string { return slices.Sorted(maps.Keys(fakers)) }

// NewFaker returns the made-up values of a kind that belong to key:
//
//	name       a Chinese name of two or three characters
//	name_en    an English name of two words
//	email      an address at example.com (RFC 2606)
//	mobile     a Chinese mobile number of the segment 154
//	id_card    a resident identity number (GB 11643) with the code of a
//	           province, which no person has, and a date from 1950 to 2005
//	bank_card  a card number of the issuer 999999, which there is not, with the
//	           right last digit (ISO/IEC 7812-1), as long as the true one
//	uscc       a unified social credit code (GB 32100) of the region of a province
//	date       a date from 1950 to 2005
//	ip         an address for documentation (RFC 5737, of IPv6 RFC 3849)
func NewFaker(kind string, key []byte) (*Faker, error) {
	f, ok := fakers[kind]
	if !ok {
		return nil, fmt.Errorf("unknown kind '%s': write one of %s", kind, strings.Join(FakeKinds(), ", "))
	}
	return &Faker{kind, bytes.Clone(key), f}, nil
}

// Append appends what is made up for text.
func (f *Faker) Append(dst, text []byte) []byte {
	mac := hmac.New(sha256.New, f.key)
	mac.Write([]byte("moat fake 1\x00" + f.kind + "\x00"))
	mac.Write(text)
	d := draw{mac.Sum(nil)}
	return f.make(dst, &d, text)
}

// draw is the bytes of an HMAC, which numbers are drawn from.
type draw struct{ rest []byte }

// of returns a number below n, which is far below 2^32. Of one draw there are
// eight.
func (d *draw) of(n int) int {
	v := binary.BigEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return int(uint64(v) * uint64(n) >> 32)
}

func (d *draw) digits(dst []byte, n int) []byte {
	for n > 0 {
		few := min(n, 6)
		dst = fmt.Appendf(dst, "%0*d", few, d.of(power(few)))
		n -= few
	}
	return dst
}

func power(n int) int {
	p := 1
	for range n {
		p *= 10
	}
	return p
}

func (d *draw) date() time.Time {
	first := time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)
	return first.AddDate(0, 0, d.of(int(time.Date(2006, 1, 1, 0, 0, 0, 0, time.UTC).Sub(first)/(24*time.Hour))))
}

// province is one of the mainland.
func (d *draw) province() []byte {
	return strconv.AppendInt(nil, int64(provinces[d.of(len(provinces)-4)]), 10)
}

const (
	familyNames = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许韩邓冯曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向汤"
	givenNames  = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红建文志国春梅兰辉丹波斌鑫宇浩凯健俊帆雪佳颖嘉欣怡晨晓东海燕峰林琳婷飞鹏瑞雨思涵子轩梓睿博泽一诺若安宁"
)

func chineseName(dst []byte, d *draw, _ []byte) []byte {
	family, given := []rune(familyNames), []rune(givenNames)
	name := []rune{family[d.of(len(family))], given[d.of(len(given))]}
	if d.of(10) < 7 {
		name = append(name, given[d.of(len(given))])
	}
	return append(dst, string(name)...)
}

var (
	firstNames = strings.Fields("James Mary John Patricia Robert Jennifer Michael Linda William Elizabeth David Barbara Richard Susan Joseph Jessica Thomas Sarah Charles Karen Daniel Nancy Matthew Lisa Anthony Betty Mark Margaret Paul Sandra Steven Ashley Andrew Emily Kenneth Donna Joshua Michelle Kevin Carol Brian Amanda George Melissa Edward Deborah Ronald Stephanie Timothy Laura")
	lastNames  = strings.Fields("Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Thompson White Harris Clark Lewis Robinson Walker Young Allen King Wright Scott Hill Green Adams Nelson Baker Hall Campbell Mitchell Carter Roberts Turner Phillips Evans Parker Edwards Collins Stewart Morris Murphy Cook Rogers Morgan Cooper")
)

func englishName(dst []byte, d *draw, _ []byte) []byte {
	dst = append(append(dst, firstNames[d.of(len(firstNames))]...), ' ')
	return append(dst, lastNames[d.of(len(lastNames))]...)
}

func fakeEmail(dst []byte, d *draw, _ []byte) []byte {
	dst = append(dst, strings.ToLower(firstNames[d.of(len(firstNames))])...)
	return append(d.digits(append(dst, '.'), 9), "@example.com"...)
}

func fakeMobile(dst []byte, d *draw, _ []byte) []byte {
	return d.digits(append(dst, "154"...), 8)
}

func fakeIDCard(dst []byte, d *draw, _ []byte) []byte {
	from := len(dst)
	dst = append(append(dst, d.province()...), "0000"...)
	dst = d.date().AppendFormat(dst, "20060102")
	dst = d.digits(dst, 3)
	return append(dst, idCardCheck(dst[from:]))
}

func fakeCard(dst []byte, d *draw, text []byte) []byte {
	n := 0
	for _, c := range text {
		if isDigit(c) {
			n++
		}
	}
	if n < 12 || n > 19 {
		n = 16
	}
	from := len(dst)
	dst = d.digits(append(dst, "999999"...), n-7)
	return append(dst, luhnDigit(dst[from:]))
}

// fakeUSCC is one of a company (91), with the check characters of GB 32100 and,
// of the organization code inside, GB 11714.
func fakeUSCC(dst []byte, d *draw, _ []byte) []byte {
	from := len(dst)
	dst = append(append(append(dst, "91"...), d.province()...), "0000"...)
	code := d.digits(nil, 8)
	dst = append(append(dst, code...), organizationCheck(code))
	return append(dst, usccCheck(dst[from:]))
}

func organizationCheck(code []byte) byte {
	sum := 0
	for i, weight := range []int{3, 7, 9, 10, 5, 8, 4, 2} {
		sum += int(code[i]-'0') * weight
	}
	return "0X987654321"[sum%11]
}

func usccCheck(code []byte) byte {
	const characters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
	sum, weight := 0, 1
	for _, c := range code {
		sum += strings.IndexByte(characters, c) * weight
		weight = weight * 3 % 31
	}
	return characters[(31-sum%31)%31]
}

func fakeDate(dst []byte, d *draw, _ []byte) []byte { return d.date().AppendFormat(dst, time.DateOnly) }

func fakeIP(dst []byte, d *draw, text []byte) []byte {
	if bytes.IndexByte(text, ':') >= 0 {
		return fmt.Appendf(dst, "2001:db8:%x:%x::%x", d.of(1<<16), d.of(1<<16), 1+d.of(1<<16-1))
	}
	net := []string{"192.0.2.", "198.51.100.", "203.0.113."}[d.of(3)]
	return strconv.AppendInt(append(dst, net...), int64(1+d.of(254)), 10)
}
