/* SPDX-License-Identifier: GPL-2.0-only */
/* The bare-metal guest inside the program: IMAGE is its path, given by the build. */
	.section .rodata
	.globl vmm_image, vmm_image_end
	.balign 16
vmm_image:
	.incbin IMAGE
vmm_image_end:
	.section .note.GNU-stack, "", @progbits
