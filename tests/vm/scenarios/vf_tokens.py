"""VF tokens of a physical function on vfio-pci: the kernel asks for them, and the daemon hands them to those who may."""

import errno
import pathlib
import uuid

import vfwarden_bus as vb

from guest import pci, service
from guest.check import contains, equal, raises, true
from guest.open_client import OpenClient
from guest.pci import NVME, Function
from guest.registry import scenario
from guest.vfio import Opening, wait_users
from scenarios.open import allow, brokered, check_brokered, check_not_opened

LENGTH = 8
SECRETS = [pathlib.Path("/run/vfwarden"), pathlib.Path("/etc/vfwarden")]


def nvme_vfs(machine, count=2):
    """VFs of the nvme PF, which vfio-pci has made and has."""
    pci.set_enable_sriov(True)
    NVME.bind("vfio-pci")
    machine.wait_property(NVME, "Driver", "vfio-pci")
    call = machine.client.start_set_num_vfs(NVME.address, count, override=True)
    call.result()
    vfs = [Function(address) for address in NVME.vfs()]
    for vf in vfs:
        machine.wait_property(vf, "Driver", "vfio-pci")
    return vfs


def check_kernel_refuses(function, token, number):
    error = raises(OSError, lambda: Opening(function, token=token), f"opening {function} with the token {token}")
    equal(error.errno, number, "its error")


def check_told_nowhere(machine, token):
    """Not in the journal, the kernel's words included, nor in anything that can be asked for, nor in a file."""
    texts = {"Describe": machine.client.manager("Describe"),
             "the journal": machine.run("journalctl", "--no-pager", "--output=export", "--boot").stdout,
             "the unit": machine.run("systemctl", "show", service.UNIT).stdout,
             "all properties": str(machine.client.bus.call(vb.ROOT, vb.OBJECT_MANAGER, "GetManagedObjects")),
             "the command line": pathlib.Path(f"/proc/{machine.daemon.pid()}/cmdline").read_text(encoding="utf-8")}
    for directory in SECRETS:
        texts |= {str(path): path.read_text(encoding="utf-8", errors="replace")
                  for path in directory.rglob("*") if path.is_file()}
    for where, text in texts.items():
        true(token not in text, f"the token is not in {where}")


@scenario("a visitor has a VF of a PF on vfio-pci opened and uses it with the token that came along; without, the kernel "
          "refuses root; the token appears nowhere", deadline=150)
def visitor_opens(machine):
    vf, other = nvme_vfs(machine)
    check_kernel_refuses(vf, None, errno.EACCES)
    allow(machine)
    client = OpenClient(machine)
    facts = client.open(vf)
    token = facts["vf-token"]
    equal(str(uuid.UUID(token, version=4)), token, "the token")
    check_brokered(machine, vf, client.pid)
    equal(machine.property(NVME, "InUse"), False, "whether the PF is in use")
    client.device(vf, token)
    true(len(client.read(LENGTH)) == LENGTH, "its registers are read")
    check_kernel_refuses(other, None, errno.EACCES)
    check_kernel_refuses(other, str(uuid.uuid4()), errno.EACCES)
    Opening(other, token=token).close()
    wait_users(machine, other, [])
    second = OpenClient(machine)
    equal(second.open(other)["vf-token"], token, "the token of another VF")
    second.device(other, token)
    check_not_opened(OpenClient(machine), vf, vb.REFUSED, f"pid {client.pid}", "opened by vfwarden")
    check_told_nowhere(machine, token)
    for each in (client, second):
        each.kill()
    wait_users(machine, vf, [])
    wait_users(machine, other, [])


@scenario("the daemon is started again with a VF in use, and with none: the same token opens", deadline=150)
def over_a_restart(machine):
    vf, other = nvme_vfs(machine)
    allow(machine)
    client = OpenClient(machine)
    token = client.open(vf)["vf-token"]
    client.device(vf, token)
    machine.restart_daemon()
    equal(brokered(machine, vf), [(client.pid, True)], "who has it")
    second = OpenClient(machine)
    equal(second.open(other)["vf-token"], token, "the token after a restart")
    second.device(other, token)
    for each in (client, second):
        each.kill()
    wait_users(machine, vf, [])
    wait_users(machine, other, [])
    machine.restart_daemon()
    client = OpenClient(machine)
    equal(client.open(vf)["vf-token"], token, "the token after another")
    client.device(vf, token)
    check_told_nowhere(machine, token)
    client.kill()
    wait_users(machine, vf, [])


@scenario("GetVfToken: for who opens by themselves, as the rule for the PF says; a PF that is bound anew has another token",
          deadline=150)
def asked_for(machine):
    vf, _ = nvme_vfs(machine)
    client = OpenClient(machine)
    error = raises(vb.BusError, lambda: client.token(NVME), "GetVfToken without a rule")
    equal(error.name, vb.ACCESS_DENIED, "its error")
    allow(machine)
    token = client.token(NVME)
    Opening(vf, token=token).close()
    NVME.unbind()
    machine.wait_property(NVME, "Driver", "")
    error = raises(vb.BusError, lambda: machine.client.bus.call(vb.function_path(NVME.address), vb.PHYSICAL,
                                                                "GetVfToken"), "GetVfToken without a VFIO driver")
    equal(error.name, vb.REFUSED, "its error")
    vf, _ = nvme_vfs(machine)
    check_kernel_refuses(vf, token, errno.EACCES)
    other = client.token(NVME)
    true(other != token, "another token")
    Opening(vf, token=other).close()
    check_told_nowhere(machine, token)
    check_told_nowhere(machine, other)


@scenario("root's own program has the PF, with a token of its own: said clearly and not guessed; when it ends, ours is "
          "imposed again", deadline=150)
def somebody_elses(machine):
    vf, other = nvme_vfs(machine)
    allow(machine)
    client = OpenClient(machine)
    token = client.open(vf)["vf-token"]
    client.close_all()
    wait_users(machine, vf, [])

    theirs = str(uuid.uuid4())
    holder = Opening(NVME, token=theirs)
    wait_users(machine, NVME, [holder.pid])
    check_not_opened(client, vf, vb.REFUSED, NVME.address, f"pid {holder.pid}", "not known to vfwarden")
    error = raises(vb.BusError, lambda: client.token(NVME), "GetVfToken")
    contains(error.message, f"pid {holder.pid}", "its text")
    check_not_opened(client, NVME, vb.REFUSED, f"pid {holder.pid}")
    # A VF that is open with it keeps it in force when the PF is closed.
    with_theirs = Opening(vf, token=theirs)
    holder.close()
    wait_users(machine, NVME, [])
    check_not_opened(client, other, vb.REFUSED, vf.address, f"pid {with_theirs.pid}", "not known to vfwarden")
    with_theirs.close()
    wait_users(machine, vf, [])

    equal(client.open(vf)["vf-token"], token, "the token when it is free")
    client.device(vf, token)
    client.close_all()
    wait_users(machine, vf, [])


@scenario("a visitor has the PF itself opened, and another one a VF of it, with the same token", deadline=150)
def the_pf_too(machine):
    vf, _ = nvme_vfs(machine)
    allow(machine)
    one, two = OpenClient(machine), OpenClient(machine)
    token = one.open(NVME)["vf-token"]
    one.device(NVME)
    equal(two.open(vf)["vf-token"], token, "the VF's token")
    two.device(vf, token)
    check_brokered(machine, NVME, one.pid)
    # Opened once more while a VF is open, it takes the token.
    one.close_all()
    wait_users(machine, NVME, [])
    equal(one.open(NVME)["vf-token"], token, "the PF's, again")
    error = raises(OSError, lambda: one.device(NVME), "opening the PF without it")
    equal(error.errno, errno.EACCES, "its error")
    one.close_all()
    wait_users(machine, NVME, [])
    one.open(NVME)
    one.device(NVME, token)
    for each in (one, two):
        each.kill()
    wait_users(machine, NVME, [])
    wait_users(machine, vf, [])
