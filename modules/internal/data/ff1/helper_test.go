package ff1

import (
	"math/big"
	"math/bits"
)

func bigPower(radix, n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(int64(radix)), big.NewInt(int64(n)), nil)
}

func bitLen(most uint64) int { return bits.Len64(most - 1) }
