/* A boot sector, which the firmware of an inner machine reads from its device. It copies the text at TEXT, which ends
 * with a zero, to the first serial port. */

#define SERIAL 0x3f8
#define TEXT   0x100

        .code16
        .text
        .globl start

start:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    $0x7c00 + TEXT, %si
        movw    $SERIAL, %dx
        cld
next:
        lodsb
        testb   %al, %al
        jz      end
        outb    %al, %dx
        jmp     next
end:
        cli
        hlt
        jmp     end

        .org    510
        .word   0xaa55
