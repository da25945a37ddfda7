#include "textflag.h"

// White space is found by its low half: VPSHUFB makes of each byte the white
// space character that has the same low half, if there is one, and of each
// byte beyond ASCII zero. Entries for which there is none hold a byte that has
// another low half, so that the comparison fails.
DATA space<>+0(SB)/8, $0x0000000000000020
DATA space<>+8(SB)/8, $0x00000d00000a0900
GLOBL space<>(SB), RODATA|NOPTR, $16

DATA limit<>+0(SB)/1, $0x20
GLOBL limit<>(SB), RODATA|NOPTR, $1
DATA quote<>+0(SB)/1, $0x22
GLOBL quote<>(SB), RODATA|NOPTR, $1
DATA slash<>+0(SB)/1, $0x5c
GLOBL slash<>(SB), RODATA|NOPTR, $1

// func classifyAVX2(stop, ink, p *byte, n int)
TEXT ·classifyAVX2(SB), NOSPLIT, $0-32
	MOVQ stop+0(FP), DI
	MOVQ ink+8(FP), SI
	MOVQ p+16(FP), DX
	MOVQ n+24(FP), CX
	VPBROADCASTB limit<>(SB), Y0
	VPBROADCASTB quote<>(SB), Y1
	VPBROADCASTB slash<>(SB), Y2
	VBROADCASTI128 space<>(SB), Y3

loop:
	VMOVDQU (DX), Y4
	VMOVDQU 32(DX), Y5

	// Signed, 0x20 is above the control characters and whatever is not ASCII.
	VPCMPGTB Y4, Y0, Y6
	VPCMPGTB Y5, Y0, Y7
	VPCMPEQB Y4, Y1, Y8
	VPCMPEQB Y5, Y1, Y9
	VPCMPEQB Y4, Y2, Y10
	VPCMPEQB Y5, Y2, Y11
	VPOR Y6, Y8, Y6
	VPOR Y7, Y9, Y7
	VPOR Y6, Y10, Y6
	VPOR Y7, Y11, Y7
	VPMOVMSKB Y6, AX
	VPMOVMSKB Y7, BX
	SHLQ $32, BX
	ORQ BX, AX
	MOVQ AX, (DI)

	VPSHUFB Y4, Y3, Y8
	VPSHUFB Y5, Y3, Y9
	VPCMPEQB Y4, Y8, Y8
	VPCMPEQB Y5, Y9, Y9
	VPMOVMSKB Y8, AX
	VPMOVMSKB Y9, BX
	SHLQ $32, BX
	ORQ BX, AX
	NOTQ AX
	MOVQ AX, (SI)

	ADDQ $64, DX
	ADDQ $8, DI
	ADDQ $8, SI
	DECQ CX
	JNZ loop
	VZEROUPPER
	RET
