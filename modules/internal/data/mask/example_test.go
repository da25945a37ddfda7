package mask_test

import (
	"fmt"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

func ExamplePreset() {
	for _, c := range [][2]string{
		{"name", "段正淳"},
		{"id_card", "51343620000320711X"},
		{"mobile", "18049531999"},
		{"email", "duandazhi-jack@gmail.com.cn"},
		{"mobile", "1804"},
	} {
		f, _ := mask.Preset(c[0])
		fmt.Printf("%s\n", f(nil, []byte(c[1])))
	}
	// Output:
	// 段**
	// 5***************1X
	// 180****1999
	// d*************@gmail.com.cn
	// ****
}

func ExampleDetector() {
	d, err := mask.NewDetector([]string{"pan", "mobile"})
	if err != nil {
		panic(err)
	}
	text := []byte("paid with 4111 1111 1111 1111, call +86 138 1234 5678")
	for at := 0; ; {
		start, end, ok := d.Find(text, at)
		if !ok {
			break
		}
		fmt.Printf("%s\n", text[start:end])
		at = end
	}
	// Output:
	// 4111 1111 1111 1111
	// +86 138 1234 5678
}
