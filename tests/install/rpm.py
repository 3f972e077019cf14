"""The RPM packages, as far as Debian's own tools can make and judge them: where the sources have been built already."""

from from_source import FromSource


class FromSourceAndRpm(FromSource):
    def rpm(self):
        """rpmbuild makes the packages of the specification, and rpmlint finds no fault in them"""
        self.root.apt_get("install", "rpm", "rpmlint", "libvirt-dev")
        # Nobody runs these programs, so they need not be optimised.
        self.root.run("packaging/rpm/build --nodeps --define 'optflags -O0'")
        self.root.run("rpmlint --config packaging/rpm/vfwarden-rpmlint.toml packaging/rpm/vfwarden.spec "
                      "$(find build-rpm -name '*.rpm')")

    STEPS = (*FromSource.STEPS, rpm)
