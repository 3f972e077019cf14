# bash completion of vfwarden(1)                                           -*- shell-script -*-

# The functions of this host, unless another one is asked: that would wait for ssh.
__vfwarden_names() {
        local words=" ${COMP_WORDS[*]} "

        case $words in
        *' -H'* | *' --host'*) return ;;
        esac
        vfwarden completion-names -- "$1" 2>/dev/null
}

# Addresses and other names that begin as typed; addresses of domain 0 without it if it was left out.
__vfwarden_complete_name() {
        local typed=$1 addresses

        addresses=$(__vfwarden_names "$typed")
        mapfile -t COMPREPLY < <(compgen -W "$addresses" -- "$typed")
        if [[ ${#COMPREPLY[@]} -eq 0 && -n $typed ]]; then
                addresses=$(printf '%s\n' "$addresses" | sed -n 's/^0000://p')
                mapfile -t COMPREPLY < <(compgen -W "$addresses" -- "$typed")
        fi

        # To readline a colon usually ends a word: it replaces only what follows the last one.
        if [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]]; then
                COMPREPLY=("${COMPREPLY[@]#"${typed%:*}:"}")
        fi
}

# Operations joined by colons. To readline a colon usually ends a word.
__vfwarden_complete_what() {
        local typed=$1 before=''

        [[ $typed == *:* ]] && before=${typed%:*}:
        mapfile -t COMPREPLY < <(compgen -P "$before" -W "$2" -- "${typed##*:}")
        if [[ -n $before && $COMP_WORDBREAKS == *:* ]]; then
                COMPREPLY=("${COMPREPLY[@]#"$before"}")
        fi
}

# What is offered for an argument or a value: $1 as verbs/completion.c prints it, $2 what is typed.
__vfwarden_offer() {
        case $1 in
        ADDRESS) __vfwarden_complete_name "$2" ;;
        HOST) mapfile -t COMPREPLY < <(compgen -A hostname -- "$2") ;;
        DIRECTORY) mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
        FILE) mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
        DRIVER)
                mapfile -t COMPREPLY < <(compgen -W "$(cd /sys/bus/pci/drivers 2>/dev/null &&
                        printf '%s\n' *)" -- "$2")
                ;;
        -* | [[:upper:]]*) ;;
        *:*) __vfwarden_complete_what "$2" "${1//:/ }" ;;
        *) mapfile -t COMPREPLY < <(compgen -W "${1//|/ }" -- "$2") ;;
        esac
}

_vfwarden() {
        local line=${COMP_LINE:0:COMP_POINT} word verb='' arguments=0 i
        local kind owner letter name offers help
        local -a words places=() verbs=() options=()
        local -A values=() takes=()

        while IFS=$'\t' read -r kind owner letter name offers help; do
                if [[ $kind == verb ]]; then
                        verbs+=("$owner")
                        takes[$owner]=$offers
                        continue
                fi
                [[ $letter == - ]] || options+=("$owner $letter")
                options+=("$owner $name")
                if [[ $name == *= ]]; then
                        values[${name%=}]=$offers
                        values[$letter]=$offers
                fi
        done < <(vfwarden completion-table 2>/dev/null)

        # COMP_WORDS is split at colons and equals signs, an address or an option is one word.
        read -r -a words <<<"$line"
        [[ $line == *[[:space:]] ]] && words+=('')
        word=${words[-1]}
        COMPREPLY=()

        for ((i = 1; i < ${#words[@]} - 1; i++)); do
                case ${words[i]} in
                --)
                        # What inhibit and open run has a completion of its own, if it is loaded.
                        if [[ ${takes[${verb:--}]-} == *' COMMAND' ]] && declare -F _command_offset >/dev/null; then
                                for ((i = 1; i < COMP_CWORD; i++)); do
                                        [[ ${COMP_WORDS[i]} == -- ]] && break
                                done
                                _command_offset "$((i + 1))"
                        fi
                        return
                        ;;
                -*) [[ -z ${values[${words[i]}]-} ]] || i=$((i + 1)) ;;
                *)
                        if [[ -z $verb ]]; then
                                verb=${words[i]}
                        else
                                arguments=$((arguments + 1))
                        fi
                        ;;
                esac
        done

        if [[ ${words[-2]} == -?* && -n ${values[${words[-2]}]-} ]]; then
                __vfwarden_offer "${values[${words[-2]}]}" "$word"
                return
        fi
        case $word in
        --*=*) __vfwarden_offer "${values[${word%%=*}]--}" "${word#*=}" ;;
        -*)
                for i in "${options[@]}"; do
                        [[ ${i% *} == - || ${i% *} == "$verb" ]] || continue
                        [[ ${i#* } == "$word"* ]] && COMPREPLY+=("${i#* }")
                done
                [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
                ;;
        *)
                if [[ -z $verb ]]; then
                        mapfile -t COMPREPLY < <(compgen -W "${verbs[*]}" -- "$word")
                else
                        read -r -a places <<<"${takes[$verb]--}"
                        i=${places[arguments]--}
                        [[ $i == - && ${places[-1]} == *... ]] && i=${places[-1]}
                        __vfwarden_offer "${i%...}" "$word"
                fi
                ;;
        esac
}

complete -F _vfwarden vfwarden
