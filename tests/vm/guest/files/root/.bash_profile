# The shell on the machine's console. The kernel's command line says whether to play the demo first.
. /root/.bashrc
demo=
case " $(cat /proc/cmdline) " in
*" vfwarden.demo "*) demo=/usr/lib/vfwarden-vm/demo ;;
*" vfwarden.demo=libvirt "*) demo="/usr/lib/vfwarden-vm/demo --libvirt" ;;
esac
if [ -n "$demo" ] && mkdir /run/vfwarden-vm-demo 2>/dev/null; then
        clear
        if $demo; then
                echo "The machine is yours now, until you type poweroff (or Ctrl-A X)."
        else
                echo "The demo failed. The machine is yours to look around; poweroff ends it."
        fi
        echo "Outside of it one can pull and plug hardware:  outside unplug id=igb0"
fi
