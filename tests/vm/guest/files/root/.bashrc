export PAGER=less LESS=-FRX SYSTEMD_LESS=FRX
size=$(sed -n 's/.*vfwarden.terminal=\([0-9]*\)x\([0-9]*\).*/cols \1 rows \2/p' /proc/cmdline)
[ -z "$size" ] || stty $size
TERM=$(sed -n 's/.*vfwarden.term=\([^ ]*\).*/\1/p' /proc/cmdline); export TERM=${TERM:-vt220}
PS1='vfwarden-vm:\w# '
alias ls='ls --color=auto'
. /usr/share/bash-completion/bash_completion 2>/dev/null
