/* A guest that obeys hot-unplug, in place of a system with a driver for it: 64 KiB of firmware, which QEMU starts at the
 * reset vector. Under two emulations, one in the other, a kernel boots for minutes; this is there at once.
 *
 * It acts as ACPI's _EJ0 of a q35 machine does (QEMU's docs/specs/acpi_pci_hotplug.rst): 18 times a second it looks which
 * devices are asked for on each bus, and ejects them. It does so while the last byte that came over the first serial port
 * is '1'; before that it ignores requests, like a guest without a driver. */

#define PCIHP_DOWN   0xcc4
#define PCIHP_EJECT  0xcc8
#define PCIHP_SELECT 0xcd0
#define BUSES        32

#define SERIAL        0x3f8
#define SERIAL_STATUS 0x3fd

#define APIC_SPURIOUS 0xfee000f0
#define APIC_ENABLED  0x1ff
#define APIC_LINT0    0xfee00350
#define APIC_EXTINT   0x700

        .code16
        .text
        .globl start

start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp

        /* The local APIC passes the interrupts of the older controller on. Its registers are far above what a segment
         * of real mode has, so %es gets another limit in protected mode. */
        lgdtl   %cs:table_pointer
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        movw    $8, %dx
        movw    %dx, %es
        andb    $0xfe, %al
        movl    %eax, %cr0
        movl    $APIC_SPURIOUS, %edi
        movl    $APIC_ENABLED, %es:(%edi)
        movl    $APIC_LINT0, %edi
        movl    $APIC_EXTINT, %es:(%edi)

        /* The timer's interrupt is 8; all others are masked. */
        movw    $tick, 8 * 4
        movw    %cs, 8 * 4 + 2
        movb    $0x11, %al
        outb    %al, $0x20
        movb    $8, %al
        outb    %al, $0x21
        movb    $4, %al
        outb    %al, $0x21
        movb    $1, %al
        outb    %al, $0x21
        movb    $0xfe, %al
        outb    %al, $0x21

        /* The timer, with its longest period. */
        movb    $0x36, %al
        outb    %al, $0x43
        xorb    %al, %al
        outb    %al, $0x40
        outb    %al, $0x40

        movb    $'0', %bl
        sti

wait:
        hlt
        movw    $SERIAL_STATUS, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      obey
        movw    $SERIAL, %dx
        inb     %dx, %al
        movb    %al, %bl
obey:
        cmpb    $'1', %bl
        jne     wait
        movl    $BUSES - 1, %ecx
bus:
        movw    $PCIHP_SELECT, %dx
        movl    %ecx, %eax
        outl    %eax, %dx
        movw    $PCIHP_DOWN, %dx
        inl     %dx, %eax
        testl   %eax, %eax
        jz      next
        movw    $PCIHP_EJECT, %dx
        outl    %eax, %dx
next:
        decl    %ecx
        jns     bus
        jmp     wait

tick:
        pushw   %ax
        movb    $0x20, %al
        outb    %al, $0x20
        popw    %ax
        iret

        .balign 8
table:
        .quad   0
        .quad   0x00cf92000000ffff /* data, from 0 to 4 GiB */
table_pointer:
        .word   . - table - 1
        .long   0xf0000 + table

        .org    0xfff0
        ljmp    $0xf000, $start
        .org    0xffff
        .byte   0
