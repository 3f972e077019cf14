"""Fakes the system bus and polkit: a private bus with the installed bus policy, clients of other users, and an
authority that answers as the test orders."""

import os
import subprocess
import textwrap

from gi.repository import Gio, GLib

from vfwarden_bus import Bus, DEADLINE

HERE = os.path.dirname(os.path.abspath(__file__))
POLICY = os.path.join(HERE, "..", "..", "..", "dbus", "org.vfwarden1.conf")

# The default policy of /usr/share/dbus-1/system.conf: nothing may be owned and no call be sent
# unless a service's own file says so, hence the project's file is tested along.
CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path={directory}/bus</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
    <allow own="org.freedesktop.login1"/>
    <allow send_destination="org.freedesktop.login1"/>
  </policy>
  <include>{directory}/policy.conf</include>
</busconfig>
"""


# Everybody may send everything: what the daemon then refuses, it refuses by itself.
OPEN_POLICY = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><policy context="default">
  <allow own="org.vfwarden1"/><allow send_destination="org.vfwarden1"/>
</policy></busconfig>
"""


class PrivateBus:
    """A dbus-daemon of its own under `directory`. Every user may connect."""

    def __init__(self, directory, policy=None):
        self.address = f"unix:path={directory}/bus"
        if policy is None:
            with open(POLICY, encoding="utf-8") as file:
                policy = file.read()
        for name, text in (("bus.conf", CONFIG.format(directory=directory)),
                           ("policy.conf", policy)):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(text)
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        # On a machine that forbids it, dbus-daemon complains that it may not raise its limits.
        self._complaints = open(os.path.join(directory, "bus.log"), "wb")
        self._process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={directory}/bus.conf", "--nofork", "--nosyslog",
             "--nopidfile", "--print-address=1"],
            stdout=subprocess.PIPE, stderr=self._complaints, env=environment)
        # It prints the address once it listens.
        if not self._process.stdout.readline():
            raise RuntimeError("dbus-daemon did not start")
        self.pid = self._process.pid

    def close(self):
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._process.stdout.close()
        self._complaints.close()


POLKIT_XML = """
<node><interface name="org.freedesktop.PolicyKit1.Authority">
  <method name="CheckAuthorization">
    <arg name="subject" type="(sa{sv})" direction="in"/>
    <arg name="action_id" type="s" direction="in"/>
    <arg name="details" type="a{ss}" direction="in"/>
    <arg name="flags" type="u" direction="in"/>
    <arg name="cancellation_id" type="s" direction="in"/>
    <arg name="result" type="(bba{ss})" direction="out"/>
  </method>
  <method name="CancelCheckAuthorization">
    <arg name="cancellation_id" type="s" direction="in"/>
  </method>
</interface></node>
"""


class Question:
    """One CheckAuthorization as it came, answerable later."""

    def __init__(self, parameters, invocation):
        (self.subject, self.action, self.details, self.flags,
         self.cancellation) = parameters.unpack()
        self._invocation = invocation
        self.answered = False

    def answer(self, allowed, challenge=False):
        self.answered = True
        self._invocation.return_value(GLib.Variant("((bba{ss}))", ((allowed, challenge, {}),)))

    def fail(self, name="org.freedesktop.PolicyKit1.Error.Failed", message="told to fail"):
        self.answered = True
        self._invocation.return_dbus_error(name, message)


class Polkit:
    """The stand-in. `verdicts` maps an action to True, False or "later"; others are denied. A cancelled
    question is answered with an error at once, or never if `answers_cancelled` is False.

    python3-dbusmock's template records neither details nor subjects and sleeps in its only thread
    when it is to be slow; this one keeps every question in `questions`."""

    NAME = "org.freedesktop.PolicyKit1"

    def __init__(self, address):
        self.verdicts = {}
        self.questions = []
        self.cancelled = []
        self.answers_cancelled = True
        self.bus = Bus(address)
        info = Gio.DBusNodeInfo.new_for_xml(POLKIT_XML).interfaces[0]
        self.bus.connection.register_object("/org/freedesktop/PolicyKit1/Authority", info,
                                            self._on_call, None, None)
        self.bus.call("/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "(su)",
                      (self.NAME, 4), destination="org.freedesktop.DBus")

    def close(self):
        """It dies; open questions get no answer but the bus's own."""
        self.bus.close()

    def _on_call(self, _connection, _sender, _path, _interface, method, parameters, invocation):
        if method == "CancelCheckAuthorization":
            cancellation = parameters.unpack()[0]
            self.cancelled.append(cancellation)
            invocation.return_value(None)
            if self.answers_cancelled:
                for question in self.open_questions:
                    if question.cancellation == cancellation:
                        question.fail("org.freedesktop.PolicyKit1.Error.Cancelled", "taken back")
            return
        question = Question(parameters, invocation)
        self.questions.append(question)
        verdict = self.verdicts.get(question.action, False)
        if verdict != "later":
            question.answer(verdict)

    @property
    def open_questions(self):
        return [q for q in self.questions if not q.answered]


# Runs as somebody else with nothing but the standard interpreter, since the tree may be unreadable.
_AS_USER = textwrap.dedent("""
    import json, sys
    from gi.repository import Gio, GLib
    address, destination, path, interface, method, signature, arguments, timeout = sys.argv[1:]
    bus = Gio.DBusConnection.new_for_address_sync(address, Gio.DBusConnectionFlags(1 | 8), None, None)
    try:
        reply = bus.call_sync(destination, path, interface, method,
                              GLib.Variant(signature, tuple(json.loads(arguments))), None,
                              Gio.DBusCallFlags.NONE, int(timeout), None)
        print(json.dumps({"reply": reply.unpack()}))
    except GLib.Error as error:
        print(json.dumps({"error": Gio.DBusError.get_remote_error(error) or error.message,
                          "message": error.message}))
""")


class OtherUser:
    """A client with an unprivileged uid. Only root can make one."""

    UID = 65534

    def __init__(self, address):
        self.address = address

    def start(self, path, interface, method, signature="()", arguments="[]",
              destination="org.vfwarden1", timeout=60):
        """A process whose standard output ends with the JSON of the reply."""
        return subprocess.Popen(
            ["/usr/bin/python3", "-c", _AS_USER, self.address, destination, path, interface, method,
             signature, arguments, str(int(timeout * 1000))],
            stdout=subprocess.PIPE, user=self.UID, group=self.UID, extra_groups=[], cwd="/",
            env={"PATH": "/usr/bin:/bin"}, text=True)
