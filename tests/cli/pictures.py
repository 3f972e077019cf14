"""Functions as Manager.Describe() has them: two PFs with VFs, and everything that is unusual."""


def function(address, kind, **members):
    made = {
        "Address": address, "Kind": kind, "VendorId": 0x8086, "DeviceId": 0x10c9,
        "SubsystemVendorId": 0x8086, "SubsystemDeviceId": 0xa03c, "Class": 0x020000, "Revision": 1,
        "VendorName": "Intel Corporation", "DeviceName": "82576 Gigabit Network Connection",
        "Driver": "", "DriverOverride": "", "IommuGroup": -1, "NumaNode": -1,
        "CommandMemory": "implemented", "InUse": False, "Locked": False, "LockReasons": [],
        "LockWhy": "", "ClosedFiles": [], "Tainted": False, "State": "present",
    }
    if kind == "pf":
        made.update(TotalVFs=8, NumVFs=0, DriversAutoprobe=True, VirtualFunctions=[])
    if kind in ("vf", "detached-vf"):
        made.update(PhysicalFunction="", Index=0, CommandMemory="hardwired-zero",
                    DeviceId=0x10ca, DeviceName="82576 Virtual Function")
    made.update(members)
    return made


NETWORK = "0000:00:02.0"
IGB = "0000:01:00.0"
IGB_VF0 = "0000:01:10.0"
IGB_VF1 = "0000:01:10.2"
NVME = "0000:02:00.0"
NVME_VF = "0000:02:00.1"
DETACHED = "0040:00:10.0"
UNREADABLE = "10000:e1:00.0"


def host():
    """A host in the middle of its work; sorted by address as the daemon does."""
    return [
        function(NETWORK, "plain", VendorId=0x1af4, DeviceId=0x1041, SubsystemVendorId=0x1af4,
                 SubsystemDeviceId=0x1100, VendorName="Red Hat, Inc.",
                 DeviceName="Virtio 1.0 network device", Driver="virtio-pci", IommuGroup=2),
        function(IGB, "pf", Driver="igb", IommuGroup=14, NumaNode=0, NumVFs=2,
                 VirtualFunctions=[IGB_VF0, IGB_VF1]),
        function(IGB_VF0, "vf", Driver="igbvf", IommuGroup=20, PhysicalFunction=IGB, Index=0),
        function(IGB_VF1, "vf", Driver="vfio-pci", DriverOverride="vfio-pci", IommuGroup=21,
                 PhysicalFunction=IGB, Index=1, InUse=True, State="draining"),
        function(NVME, "pf", VendorId=0x1b36, DeviceId=0x10, SubsystemVendorId=0x1af4,
                 SubsystemDeviceId=0x1100, Class=0x010802, Revision=2,
                 VendorName="Red Hat, Inc.", DeviceName="QEMU NVM Express Controller",
                 Driver="vfio-pci", DriverOverride="vfio-pci", IommuGroup=15, NumaNode=0,
                 InUse=True, Locked=True, LockReasons=["userspace-driver", "administrator"],
                 LockWhy="guest db1 starts at noon", Tainted=True, TotalVFs=4, NumVFs=1,
                 DriversAutoprobe=False, VirtualFunctions=[NVME_VF],
                 ClosedFiles=["sriov_numvfs", "sriov_drivers_autoprobe", "remove", "reset"]),
        function(NVME_VF, "vf", VendorId=0x1b36, DeviceId=0x10, Class=0x010802, Revision=2,
                 VendorName="Red Hat, Inc.", DeviceName="QEMU NVM Express Controller",
                 Driver="vfio-pci", DriverOverride="vfio-pci", IommuGroup=22,
                 PhysicalFunction=NVME),
        function(DETACHED, "detached-vf", VendorId=0x1014, DeviceId=0x4ed, VendorName="IBM",
                 DeviceName="Internal Shared Memory (ISM) virtual PCI device", Driver="ism",
                 Class=0, Revision=0, IommuGroup=3, Index=4, FunctionId=0xff, FunctionHandle=0xffffffff,
                 Uid=0x40, Pchid=0x1c4, FunctionGroup=0xff, VirtualFunctionNumber=4, FunctionType=5,
                 MioEnabled=False),
        function(UNREADABLE, "plain", VendorId=0xffff, DeviceId=0xffff, SubsystemVendorId=0xffff,
                 SubsystemDeviceId=0xffff, Class=0xffffff, Revision=0xff, VendorName="",
                 DeviceName=""),
    ]
