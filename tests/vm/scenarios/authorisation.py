"""Who may do what: reading is free, changing is decided by the machine's real polkitd."""

import vfwarden_bus as vb

from guest.check import contains, equal, raises, true
from guest.holder import Holder
from guest.pci import IGB, KERNEL_MODES, NVME, PLAIN, Function
from guest.registry import scenario

ALL = tuple(KERNEL_MODES)
ACTION = "org.vfwarden1.configure"
RULE = """
polkit.addRule(function(action, subject) {
        if (action.id == "org.vfwarden1.configure" && subject.user == "visitor" && %s)
                return polkit.Result.YES;
});
"""


LIBVIRT_RULES = "/usr/share/doc/vfwarden/examples/60-vfwarden-libvirt.rules"


def check_denied(function, what, action=ACTION):
    error = raises(vb.BusError, function, what)
    equal(error.name, vb.ACCESS_DENIED, f"the error of {what}")
    contains(error.message, action, f"the error of {what} names the action")


@scenario("an unprivileged user reads everything that root reads")
def reading_is_free(machine):
    IGB.set_num_vfs(1)
    machine.wait_property(IGB, "NumVFs", 1)
    visitor = machine.person("visitor")
    functions = machine.client.list_functions()
    rows = visitor.call(vb.ROOT, vb.MANAGER, "ListFunctions")[0]
    equal({row[0]: tuple(row[1:]) for row in rows}, functions, "ListFunctions")
    for address in functions:
        equal(visitor.function(address), machine.client.function(address), f"the properties of {address}")
    equal(visitor.call(vb.ROOT, vb.MANAGER, "GetFunction", "(s)", IGB.address),
          [vb.function_path(IGB.address)], "GetFunction")
    contains(visitor.call(vb.ROOT, vb.MANAGER, "Describe")[0], IGB.address, "Describe")
    equal(visitor.call(vb.ROOT, vb.PROPERTIES, "Get", "(ss)", vb.MANAGER, "Enforcement"), ["enforce"],
          "Enforcement")
    equal(visitor.call(vb.LOG_CONTROL_PATH, vb.PROPERTIES, "Get", "(ss)", vb.LOG_CONTROL, "LogLevel"), ["debug"],
          "LogLevel")


@scenario("an unprivileged user may change nothing: AccessDenied by polkitd; root may")
def changing_is_not(machine):
    visitor = machine.person("visitor")
    before = IGB.all_modes()
    check_denied(lambda: visitor.lock(IGB.address), "Lock by a visitor")
    check_denied(lambda: visitor.unlock(IGB.address), "Unlock by a visitor")
    check_denied(lambda: visitor.call(vb.ROOT, vb.MANAGER, "Reload"), "Reload by a visitor")
    check_denied(lambda: visitor.call(vb.ROOT, vb.MANAGER, "ReleaseAll"), "ReleaseAll by a visitor")
    error = raises(vb.BusError, lambda: visitor.ask("set_log_level", "emerg"), "setting LogLevel as a visitor")
    equal(error.name, vb.ACCESS_DENIED, "the error of setting LogLevel")
    equal(machine.client.get(vb.LOG_CONTROL_PATH, vb.LOG_CONTROL, "LogLevel"), "debug", "LogLevel")
    machine.fence()
    equal(IGB.all_modes(), before, "the modes")
    machine.check_locked(IGB, [], [])
    # Decided by polkitd, not for want of it.
    true(machine.client.bus.name_owner("org.freedesktop.PolicyKit1"), "polkitd is on the bus")
    machine.client.lock(IGB.address)
    machine.check_locked(IGB, ["administrator"], ALL)
    check_denied(lambda: visitor.unlock(IGB.address), "Unlock of root's lock by a visitor")
    machine.check_locked(IGB, ["administrator"], ALL)


@scenario("a polkit rule lets one user lock, and nobody else")
def rule_for_a_user(machine):
    machine.add_polkit_rule(RULE % "true")
    machine.person("visitor").lock(IGB.address, "by the rule")
    machine.check_locked(IGB, ["administrator"], ALL)
    equal(machine.property(IGB, "LockWhy"), "by the rule", "LockWhy")
    check_denied(lambda: machine.person("stranger").unlock(IGB.address), "Unlock by a stranger")
    machine.check_locked(IGB, ["administrator"], ALL)


@scenario("a polkit rule can be about one function: its address, kind and driver go with the question")
def rule_for_a_function(machine):
    condition = ' && '.join(f'action.lookup("{key}") == "{value}"' for key, value in
                            (("address", IGB.address), ("kind", "pf"), ("driver", "igb"), ("pf", "")))
    machine.add_polkit_rule(RULE % condition)
    visitor = machine.person("visitor")
    check_denied(lambda: visitor.lock(NVME.address), "Lock of another function")
    visitor.lock(IGB.address)
    machine.check_locked(IGB, ["administrator"], ALL)
    machine.check_locked(NVME, [], [])


@scenario("without polkitd root may lock and nobody else; the question of a visitor starts polkitd again")
def without_polkit(machine):
    machine.run("systemctl", "mask", "--runtime", "--now", "polkit.service")
    try:
        visitor = machine.person("visitor")
        error = raises(vb.BusError, lambda: visitor.lock(IGB.address), "Lock without polkit")
        equal(error.name, vb.ACCESS_DENIED, "the error of Lock without polkit")
        machine.check_locked(IGB, [], [])
        machine.client.lock(IGB.address)
    finally:
        machine.run("systemctl", "unmask", "--runtime", "polkit.service")
    machine.check_locked(IGB, ["administrator"], ALL)
    check_denied(lambda: visitor.unlock(IGB.address), "Unlock, with polkit started by the question")
    true(machine.client.bus.name_owner("org.freedesktop.PolicyKit1"), "polkitd is on the bus")


OPEN_QUESTIONS = 64     # of all users but root, whose callers wait


@scenario("users whose agents are silent use up polkit neither for root nor for another user", deadline=180)
def silent_agents(machine):
    machine.add_polkit_rule(RULE % "true")
    crowd = [machine.person(name) for name in ("daemon", "bin", "sys", "games", "man")]
    for person in crowd:
        person.lock_silently(IGB.address, 40)

    def mostly_refused():
        states = [person.silence() for person in crowd]
        refused = [name for _, errors in states for name in errors]
        return states if len(refused) >= 40 * len(crowd) - OPEN_QUESTIONS else None
    states = machine.wait(mostly_refused, "all but some calls to be refused", 60)
    equal({name for _, errors in states for name in errors}, {vb.LIMITS_EXCEEDED}, "the errors of what was too much")
    true(all(asked > 0 for asked, _ in states), f"polkitd asked every user's agent: {states}")
    machine.check_locked(IGB, [], [])

    # Another user gets polkit's answer, and root needs none.
    machine.person("visitor").lock(IGB.address, "by the rule")
    machine.check_locked(IGB, ["administrator"], ALL)
    check_denied(lambda: machine.person("stranger").unlock(IGB.address), "Unlock by a stranger")
    machine.run("systemctl", "kill", "--signal=STOP", "polkit.service")
    try:
        machine.client.unlock(IGB.address)
        machine.check_locked(IGB, [], [])
    finally:
        machine.run("systemctl", "kill", "--signal=CONT", "polkit.service")

    # Those who leave take their questions along.
    for person in crowd:
        person.process.kill()
    machine.wait(lambda: may_be_asked(machine), "room for a question after all have left", 60)


def may_be_asked(machine):
    error = raises(vb.BusError, lambda: machine.person("stranger").lock(IGB.address), "Lock by a stranger")
    true(error.name in (vb.ACCESS_DENIED, vb.LIMITS_EXCEEDED), f"the error is {error}")
    return error.name == vb.ACCESS_DENIED


@scenario("another user's command line is root's to see; the pid, the unit and the uid are everybody's")
def command_lines(machine):
    IGB.set_num_vfs(1)
    machine.wait_property(IGB, "NumVFs", 1)
    vf = Function(IGB.vfs()[0])
    machine.wait_function(vf)
    vf.bind("vfio-pci")
    machine.wait_property(vf, "Driver", "vfio-pci")
    Holder(machine, vf.address, wrapper=["systemd-run", "--quiet", "--pipe", "--collect", "--unit=guest-api.service",
                                         "--property=KillSignal=SIGKILL"])
    machine.wait_property(vf, "InUse", True)

    def root_sees():
        rows = machine.client.manager("ListUsers")
        return rows[0] if len(rows) == 1 and rows[0][3] else None
    row = machine.wait(root_sees, "root to see the command")
    contains(row[3], "vfio-holder", "the command that root sees")
    visitor = machine.person("visitor")
    equal(visitor.call(vb.ROOT, vb.MANAGER, "ListUsers")[0], [[*row[:3], "", row[4]]], "ListUsers by a visitor")
    user, = visitor.call(vb.ROOT, vb.MANAGER, "DescribeUsers", "(s)", vf.address)[0]
    equal((user["pid"], user["command"], user["unit"]), (row[1], "", "guest-api.service"), "DescribeUsers by a visitor")
    machine.add_polkit_rule(RULE % "true")
    path = vb.function_path(vf.address)
    refusal = raises(vb.BusError, lambda: visitor.call(path, vb.FUNCTION, "Unbind"), "Unbind by a visitor")
    equal(refusal.name, vb.REFUSED, "the error of Unbind by a visitor")
    contains(refusal.message, f"a process (pid {row[1]}, guest-api.service)", "what Unbind says")
    for text in (refusal.message, str(visitor.call(vb.ROOT, vb.MANAGER, "Describe")),
                 str(visitor.call(vb.ROOT, vb.MANAGER, "Check", "(ss)", vf.address, "unbind"))):
        true("vfio-holder" not in text, f"no command in {text}")
    contains(machine.client.check(vf.address, "unbind")[1][0][2], "vfio-holder", "what Check tells root")


def requests(person, address):
    """What a manager of machines asks for: name -> the call, and its action."""
    path = vb.function_path(address)
    return {
        "Inhibit": (lambda: person.call(vb.ROOT, vb.MANAGER, "Inhibit", "(ssss)", address, "unbind", "libvirt", ""),
                    "org.vfwarden1.inhibit"),
        "Lock": (lambda: person.lock(address), ACTION),
        "Unlock": (lambda: person.unlock(address), ACTION),
        "Bind": (lambda: person.call(path, vb.FUNCTION, "Bind", "(s)", "vfio-pci"), ACTION),
        "Unplug": (lambda: person.call(path, vb.FUNCTION, "Unplug", "(ta{sv})", 0, {}), "org.vfwarden1.unplug"),
    }


def check_all_denied(person, address, what):
    for name, (call, action) in requests(person, address).items():
        check_denied(call, f"{name} of {address} by {what}", action)


@scenario("the sample rules let the group libvirt inhibit, configure and unplug VFs, and nothing else", deadline=180)
def rules_for_libvirt(machine):
    with open(LIBVIRT_RULES, encoding="utf-8") as file:
        rules = file.read()
    IGB.set_num_vfs(2)
    machine.wait_property(IGB, "NumVFs", 2)
    vf, other = (Function(address) for address in IGB.vfs())
    machine.wait_function(other)
    machine.run("groupadd", "--force", "libvirt")
    machine.run("usermod", "--append", "--groups", "libvirt", "visitor")
    # polkit of Debian 13 asks the process for its groups, and that of Debian 12 the user database.
    visitor, stranger = machine.person("visitor"), machine.person("stranger")
    try:
        check_all_denied(visitor, vf.address, "a member, without the rules")
        machine.add_polkit_rule(rules)
        check_all_denied(stranger, vf.address, "no member")
        for name, (call, _action) in requests(visitor, vf.address).items():
            try:
                call()
            except vb.BusError as error:
                raise AssertionError(f"{name} of a VF by a member: {error}") from error
        machine.wait_property(vf, "Driver", "")     # what Unplug leaves of a VF
        machine.check_locked(vf, [], [])
        for function in (IGB, NVME, PLAIN):
            check_all_denied(visitor, function.address, "a member")
        for options in ({}, {"override": True}):
            check_denied(lambda chosen=options: visitor.set_num_vfs(IGB.address, 0, **chosen),
                         f"SetNumVFs with {options} by a member")
        check_denied(lambda: visitor.call(vb.ROOT, vb.MANAGER, "ReleaseAll"), "ReleaseAll by a member")
        check_denied(lambda: visitor.call(vb.ROOT, vb.MANAGER, "Reload"), "Reload by a member")
        equal(len(IGB.vfs()), 2, "the number of VFs")

        # Narrowed as the comments in it say.
        other.bind("vfio-pci")
        machine.wait_property(other, "Driver", "vfio-pci")
        for narrowed, allowed in (('pfs = ["%s"]' % NVME.address, False), ('pfs = ["%s"]' % IGB.address, True),
                                  ('kept = ["vfio-pci"]', False), ('kept = ["igbvf"]', True)):
            name = narrowed.split(" ")[0]
            true(f"var {name} = [];" in rules, f"there is {name} in the rules")
            machine.add_polkit_rule(rules.replace(f"var {name} = [];", f"var {narrowed};"))
            if allowed:
                visitor.lock(other.address)
                visitor.unlock(other.address)
            else:
                check_all_denied(visitor, other.address, f"a member, with {narrowed}")
    finally:
        machine.run("gpasswd", "--delete", "visitor", "libvirt")
