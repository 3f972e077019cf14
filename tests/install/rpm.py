"""The RPM packages, as far as Debian's own tools can make and judge them: where the sources have been built already."""

from from_source import FromSource
from root import CLONE, equal


class FromSourceAndRpm(FromSource):
    def rpm(self):
        """rpmbuild makes the packages of the specification, and rpmlint finds no fault in them"""
        self.root.apt_get("install", "rpm", "rpmlint", "libvirt-dev")
        # Nobody runs these programs, so they need not be optimised.
        self.root.run("packaging/rpm/build --nodeps --define 'optflags -O0'")
        self.root.run("rpmlint --config packaging/rpm/vfwarden-rpmlint.toml packaging/rpm/vfwarden.spec "
                      "$(find build-rpm -name '*.rpm')")

    def rpm_enables(self):
        """the package with the hook has the daemon started at each boot: no preset does that here"""
        packages = f"/{CLONE}/build-rpm/RPMS/*/vfwarden-[0-9]*.rpm /{CLONE}/build-rpm/RPMS/*/vfwarden-libvirt-[0-9]*.rpm"
        self.root.run(f"rpm --install --force-debian --nodeps {packages}", root=True)
        for unit in ("vfwardend.service", "vfwarden-libvirt.service"):
            state = self.root.run(f"systemctl is-enabled {unit} || :", root=True).strip()
            equal(state, "enabled", f"the state of {unit}")

    STEPS = (*FromSource.STEPS, rpm, rpm_enables)
