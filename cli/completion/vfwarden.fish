# fish completion of vfwarden(1)

# The functions of this host, unless another one is asked: that would wait for ssh.
function __vfwarden_names
    string match -qr -- '^(-H|--host)' (commandline -opc); and return
    vfwarden completion-names -- (commandline -ct) 2>/dev/null
end

# Words joined by colons, the last of which is being typed.
function __vfwarden_joined
    set -l before (commandline -ct | string replace -r '^--[^=]*=' '' | string match -r '.*:')
    printf "$before%s\n" (string split : -- $argv[1])
end

# Whether argument $argv[2] of the verb $argv[1] is being typed, counted from 0, or with "..." after
# it a later one as well; $argv[3..] are the options that take a value.
function __vfwarden_at
    set -l words (commandline -opc)
    set -l found
    set -l skip 0
    for word in $words[2..]
        if test $skip = 1
            set skip 0
        else if test "$word" = --
            return 1
        else if contains -- $word $argv[3..]
            set skip 1
        else if not string match -q -- '-*' $word
            set -a found $word
        end
    end
    test $skip = 0; or return 1
    if test -z "$argv[1]"
        test (count $found) = 0
    else
        set -l place (string replace ... '' -- $argv[2])
        test "$found[1]" = "$argv[1]"; or return 1
        test (count $found) = (math $place + 1); and return
        test $place != $argv[2]; and test (count $found) -gt (math $place + 1)
    end
end

# What is offered for an argument or a value, as verbs/completion.c prints it, for complete -a.
function __vfwarden_offer
    switch $argv[1]
        case ADDRESS
            echo '(__vfwarden_names)'
        case HOST
            echo '(__fish_print_hostnames)'
        case FILE
            echo '(__fish_complete_path)'
        case DIRECTORY
            echo '(__fish_complete_directories)'
        case DRIVER
            echo '(command ls /sys/bus/pci/drivers 2>/dev/null)'
        case '-*'
        case '*:*'
            echo "(__vfwarden_joined $argv[1])"
        case '*'
            string match -qr '^[A-Z]' -- $argv[1]; or string replace -a '|' ' ' -- $argv[1]
    end
end

complete -c vfwarden -f

set -l __vfwarden_rows (vfwarden completion-table 2>/dev/null)
set -l __vfwarden_values
for row in $__vfwarden_rows
    set -l field (string split \t -- $row)
    string match -q -- '*=' $field[4]; or continue
    set -a __vfwarden_values (string trim -r -c = -- $field[4])
    test $field[3] = -; or set -a __vfwarden_values $field[3]
end

for row in $__vfwarden_rows
    set -l field (string split \t -- $row)
    set -l arguments
    if test $field[1] = verb
        complete -c vfwarden -n "__vfwarden_at '' 0 $__vfwarden_values" -a $field[2] -d $field[6]
        set -l place 0
        for offer in (string split ' ' -- $field[5])
            set -l words (__vfwarden_offer (string replace -r '\.\.\.$' '' -- $offer))
            set -l at $place
            string match -q -- '*...' $offer; and set at $place...
            test -n "$words"; and complete -c vfwarden -n "__vfwarden_at $field[2] $at $__vfwarden_values" -a "$words"
            test $offer = --; and complete -c vfwarden -n "__fish_seen_subcommand_from $field[2]; and contains -- -- (commandline -opc)" \
                -a '(__fish_complete_subcommand --fcs-skip=(math (contains -i -- -- (commandline -opc))))'
            set place (math $place + 1)
        end
        continue
    end
    set arguments -l (string trim -c '-=' -- $field[4]) -d $field[6]
    test $field[3] = -; or set -a arguments -s (string trim -c - -- $field[3])
    test $field[2] = -; or set -a arguments -n "__fish_seen_subcommand_from $field[2]"
    if string match -q -- '*=' $field[4]
        set -a arguments -x
        set -l words (__vfwarden_offer $field[5])
        test -n "$words"; and set -a arguments -a "$words"
    end
    complete -c vfwarden $arguments
end
