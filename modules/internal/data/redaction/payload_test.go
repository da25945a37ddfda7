package redaction

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The payloads of the benchmarks are made here, from fixed seeds, in the image
// of texts that JSON libraries are commonly measured with; none of their
// content is taken over.
//
//	api      an order service: compact, short members, few long strings
//	twitter  like twitter.json: indented, long strings, a third of the text
//	         in them is Japanese, escapes in markup and links
//	citm     like citm_catalog.json: indented deep, many small numbers and nulls
//	canada   like canada.json: arrays of coordinates
//	fhir     a hospital record: indented, coded concepts, long narrative
//
// Each has the members password, internal, phone and id_card that the
// benchmarks redact, in api and fhir with every record.

// payload returns the named text, of about size bytes.
func payload(name string, size int) []byte {
	r := rand.New(rand.NewPCG(20261122, uint64(len(name))))
	var b bytes.Buffer
	switch name {
	case "api":
		apiPayload(&b, r, size)
	case "twitter":
		twitterPayload(&b, r, size)
	case "citm":
		citmPayload(&b, r, size)
	case "canada":
		canadaPayload(&b, r, size)
	case "fhir":
		fhirPayload(&b, r, size)
	default:
		panic("no payload " + name)
	}
	return b.Bytes()
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

func word(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "etaoinshrdlucmfwypvbgkjqxz"[min(r.IntN(26), r.IntN(26))]
	}
	return string(b)
}

func words(r *rand.Rand, n int) string {
	var list []string
	for range n {
		list = append(list, word(r, 2+r.IntN(9)))
	}
	return strings.Join(list, " ")
}

func digits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('1' + r.IntN(9))
	}
	return string(b)
}

func date(r *rand.Rand) string {
	return fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02dZ", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60))
}

func apiPayload(b *bytes.Buffer, r *rand.Rand, size int) {
	fmt.Fprintf(b, `{"page":1,"total":%d,"items":[`, size/700)
	for first := true; b.Len() < size-600 || first; first = false {
		if !first {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `{"id":%d,"uuid":"%x-%x","status":"%s","created_at":"%s","updated_at":"%s","paid":%t,"discount":null,`,
			r.Uint32(), r.Uint64(), r.Uint64(), pick(r, "open", "shipped", "cancelled"), date(r), date(r), r.IntN(2) == 0)
		fmt.Fprintf(b, `"customer":{"id":%d,"name":"%s","email":"%s@example.com","phone":"1%s","id_card":"%s","password":"%s","address":{"street":"%s","city":"%s","zip":"%s","geo":{"lat":%.6f,"lon":%.6f}}},`,
			r.IntN(1e6), words(r, 2), word(r, 8), digits(r, 10), digits(r, 18), word(r, 16), words(r, 3), word(r, 7), digits(r, 5), r.Float64()*90, r.Float64()*180)
		b.WriteString(`"lines":[`)
		for j := range 1 + r.IntN(3) {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, `{"sku":"%s","title":"%s","qty":%d,"price":%d.%02d,"tags":["%s","%s"]}`,
				digits(r, 9), words(r, 4), 1+r.IntN(9), r.IntN(500), r.IntN(100), word(r, 5), word(r, 6))
		}
		fmt.Fprintf(b, `],"note":"%s","internal":{"score":%.3f,"agent":"%s"}}`, words(r, r.IntN(12)), r.Float64(), word(r, 6))
	}
	b.WriteString(`]}`)
}

func japanese(r *rand.Rand, n int) string {
	var s strings.Builder
	for range n {
		s.WriteRune(rune(0x3042 + r.IntN(80)))
	}
	return s.String()
}

func twitterPayload(b *bytes.Buffer, r *rand.Rand, size int) {
	b.WriteString("{\n  \"statuses\": [")
	for first := true; b.Len() < size-2500 || first; first = false {
		if !first {
			b.WriteByte(',')
		}
		id := 505870000000000000 + r.Int64N(1e12)
		fmt.Fprintf(b, `
    {
      "metadata": {
        "result_type": "recent",
        "iso_language_code": "ja"
      },
      "created_at": "Sun Aug 31 00:29:15 +0000 2014",
      "id": %d,
      "id_str": "%d",
      "text": "@%s %s\n%s http:\/\/t.co\/%s",
      "source": "<a href=\"http:\/\/twitter.com\/download\/iphone\" rel=\"nofollow\">Twitter for iPhone<\/a>",
      "truncated": false,
      "in_reply_to_status_id": null,
      "in_reply_to_user_id": %d,
      "in_reply_to_screen_name": "%s",
      "user": {
        "id": %d,
        "name": "%s",
        "screen_name": "%s",
        "location": "%s",
        "description": "%s",
        "url": null,
        "entities": {
          "description": {
            "urls": []
          }
        },
        "protected": false,
        "followers_count": %d,
        "friends_count": %d,
        "phone": "1%s",
        "created_at": "Wed Mar 05 12:47:42 +0000 2014",
        "profile_background_color": "C0DEED",
        "profile_background_image_url": "http:\/\/abs.twimg.com\/images\/themes\/theme1\/bg.png",
        "profile_image_url_https": "https:\/\/pbs.twimg.com\/profile_images\/%d\/%s_normal.jpeg",
        "profile_use_background_image": true,
        "default_profile": true,
        "following": false
      },
      "geo": null,
      "coordinates": null,
      "retweet_count": %d,
      "entities": {
        "hashtags": [],
        "user_mentions": [
          {
            "screen_name": "%s",
            "name": "%s",
            "id": %d,
            "indices": [
              0,
              %d
            ]
          }
        ]
      },
      "favorited": false,
      "lang": "ja"
    }`, id, id, word(r, 8), japanese(r, 30+r.IntN(60)), japanese(r, r.IntN(30)), word(r, 10),
			r.Uint32(), word(r, 9), r.Uint32(), japanese(r, 6), word(r, 9), japanese(r, 8), japanese(r, 30+r.IntN(80)),
			r.IntN(5000), r.IntN(5000), digits(r, 10), r.Uint32(), word(r, 8), r.IntN(100), word(r, 9), japanese(r, 6), r.Uint32(), r.IntN(20))
	}
	b.WriteString("\n  ],\n  \"search_metadata\": {\n    \"completed_in\": 0.087,\n    \"internal\": \"x\"\n  }\n}\n")
}

func citmPayload(b *bytes.Buffer, r *rand.Rand, size int) {
	b.WriteString("{\n    \"events\": {")
	for first := true; b.Len() < size/10 || first; first = false {
		if !first {
			b.WriteByte(',')
		}
		id := 138586000 + r.IntN(1000)
		fmt.Fprintf(b, `
        "%d": {
            "description": null,
            "id": %d,
            "logo": "/images/UE0AAAAACEKo6QAAAAZDSVRN",
            "name": "%s",
            "subTopicIds": [
                337184269,
                337184283
            ],
            "subjectCode": null,
            "topicIds": [
                324846099,
                107888604
            ]
        }`, id, id, words(r, 4))
	}
	b.WriteString("\n    },\n    \"internal\": {},\n    \"performances\": [")
	for first := true; b.Len() < size-2000 || first; first = false {
		if !first {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `
        {
            "eventId": %d,
            "id": %d,
            "logo": %s,
            "name": null,
            "prices": [`, r.IntN(1e9), r.IntN(1e9), pick(r, "null", `"/images/UE0AAAAACEKo6QAAAAZDSVRN"`))
		for i := range 1 + r.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, `
                {
                    "amount": %d,
                    "audienceSubCategoryId": 337100890,
                    "seatCategoryId": %d
                }`, r.IntN(100000), r.IntN(1e9))
		}
		b.WriteString("\n            ],\n            \"seatCategories\": [")
		for i := range 1 + r.IntN(4) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("\n                {\n                    \"areas\": [")
			for j := range 1 + r.IntN(5) {
				if j > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(b, `
                        {
                            "areaId": %d,
                            "blockIds": []
                        }`, r.IntN(1e9))
			}
			fmt.Fprintf(b, "\n                    ],\n                    \"seatCategoryId\": %d\n                }", r.IntN(1e9))
		}
		fmt.Fprintf(b, "\n            ],\n            \"seatMapImage\": null,\n            \"start\": %d,\n            \"venueCode\": \"PLEYEL_PLEYEL\"\n        }", 1372701600000+r.Int64N(1e10))
	}
	b.WriteString("\n    ],\n    \"venueNames\": {\n        \"PLEYEL_PLEYEL\": \"Salle Pleyel\"\n    }\n}\n")
}

func canadaPayload(b *bytes.Buffer, r *rand.Rand, size int) {
	b.WriteString(`{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"name":"Canada","internal":1},"geometry":{"type":"Polygon","coordinates":[`)
	for first := true; b.Len() < size-100 || first; first = false {
		if !first {
			b.WriteByte(',')
		}
		b.WriteByte('[')
		for i := range 20 + r.IntN(200) {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, "[%.*f,%.*f]", 12+r.IntN(4), -140+r.Float64()*80, 12+r.IntN(4), 40+r.Float64()*40)
		}
		b.WriteByte(']')
	}
	b.WriteString(`]}}]}`)
}

func fhirPayload(b *bytes.Buffer, r *rand.Rand, size int) {
	b.WriteString("{\n  \"resourceType\": \"Bundle\",\n  \"type\": \"searchset\",\n  \"entry\": [")
	for first := true; b.Len() < size-1500 || first; first = false {
		if !first {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `
    {
      "fullUrl": "urn:uuid:%x",
      "resource": {
        "resourceType": "Patient",
        "id": "%x",
        "text": {
          "status": "generated",
          "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">%s</div>"
        },
        "identifier": [
          {
            "use": "usual",
            "type": {
              "coding": [
                {
                  "system": "http://terminology.hl7.org/CodeSystem/v2-0203",
                  "code": "MR",
                  "display": "Medical Record Number"
                }
              ]
            },
            "id_card": "%s"
          }
        ],
        "name": [
          {
            "family": "%s",
            "given": [
              "%s",
              "%s"
            ]
          }
        ],
        "phone": "1%s",
        "gender": "%s",
        "birthDate": "19%02d-%02d-%02d",
        "deceasedBoolean": false,
        "internal": {
          "password": "%s"
        },
        "multipleBirthInteger": %d
      }
    }`, r.Uint64(), r.Uint64(), words(r, 20+r.IntN(60)), digits(r, 18), word(r, 7), word(r, 6), word(r, 5), digits(r, 10),
			pick(r, "male", "female", "other"), 20+r.IntN(80), 1+r.IntN(12), 1+r.IntN(28), word(r, 12), r.IntN(3))
	}
	b.WriteString("\n  ]\n}\n")
}
