/* guard-layout.h: what the kernel guard's BPF programs share with vfwarden-guard and the daemon.
 *
 * Owns the names of the pinned maps and the layout of their keys and values. Included by code that
 * is compiled for BPF, so this header includes nothing and uses types of fixed width only. The
 * daemon writes `settings`, `files`, `functions`, `modules` and `exempt`; the programs write
 * `events`, `counters`, and GuardFunction.released. */
#pragma once

/* Below the directory of the pins. A map's name has 15 characters at most (BPF_OBJ_NAME_LEN). */
#define GUARD_MAP_SETTINGS  "settings"
#define GUARD_MAP_FILES     "files"
#define GUARD_MAP_FUNCTIONS "functions"
#define GUARD_MAP_MODULES   "modules"
#define GUARD_MAP_EXEMPT    "exempt"
#define GUARD_MAP_EVENTS    "events"
#define GUARD_MAP_COUNTERS  "counters"
/* vfwarden-guard pins the program that sees each read and write of a file; the daemon attaches it
 * while a file is guarded, and pins the link. */
#define GUARD_PIN_WRITE_PROGRAM "write-program"
#define GUARD_PIN_WRITE_LINK    "write"

#define GUARD_FILES_MAX         65536
#define GUARD_FUNCTIONS_MAX     65536
#define GUARD_MODULES_MAX       256
#define GUARD_EVENTS_SIZE       (256 * 1024)

/* A name in a key is filled up with zeros. The longest address is 10000:00:00.0 and longer by the
 * domain's width; a module's name has at most 55 characters (MODULE_NAME_LEN on 64 bit). */
#define GUARD_NAME_MAX   32
#define GUARD_MODULE_MAX 56

/* The only entry of `settings`, at key 0. */
typedef struct GuardSettings {
        unsigned int refuse;         /* 0: what would be refused passes, and is reported */
        unsigned int refuse_network; /* the same, for what the network's guard refuses */
} GuardSettings;

/* What a file of sysfs, or of /proc/bus/pci, is to the guard. The key of `files` is the inode's
 * number, 64 bits: kernfs gives a node the same number in every instance of sysfs (kernfs_ino()),
 * counting from 1, and procfs one from 0xf0000000 on (proc_alloc_inum()). But files of processes
 * and sysctls have any number there (get_next_ino()), so the value says which of the two it is. */
typedef enum GuardFileKind {
        GUARD_FILE_PROTECTED = 1, /* write-protected by its mode */
        GUARD_FILE_UNBIND = 2,    /* `unbind` of a driver that has a guarded function */
        GUARD_FILE_TOLD = 3,      /* a write is reported and passes */
} GuardFileKind;

typedef struct GuardFile {
        unsigned int kind;
        unsigned int in_proc; /* 1: of procfs, 0: of sysfs */
} GuardFile;

/* A guarded function; the key of `functions` is its address as text. */
typedef struct GuardFunction {
        unsigned int only_used; /* the only reason is that the function itself is used */
        /* With `only_used`: its driver has disabled the device since, as VFIO does at the last
         * close. A program that waits for a VMM's end may unbind then, before the daemon has
         * looked. */
        unsigned int released;
        unsigned int vfs_used; /* a VF of it is in use */
} GuardFunction;

/* What `counters` counts. */
typedef enum GuardCounter {
        GUARD_COUNTER_REPORTED, /* or would have been */
        GUARD_COUNTER_LOST,     /* events that found no room in `events` */
        GUARD_COUNTERS_MAX,
} GuardCounter;

typedef enum GuardEventKind {
        GUARD_EVENT_UNBIND = 1, /* a write to `unbind`: `name` is what it names, or "" */
        GUARD_EVENT_WRITE,      /* a write to a write-protected file, by an earlier descriptor */
        GUARD_EVENT_CHMOD,      /* a write bit for a write-protected file */
        GUARD_EVENT_MODULE,     /* delete_module(2) of the module `name` */
        GUARD_EVENT_TOLD,       /* a write that is never refused */
        /* Of a function with `vfs_used`, `name`, by the network. */
        GUARD_EVENT_VF_SETTINGS,    /* RTM_SETLINK with IFLA_VFINFO_LIST */
        GUARD_EVENT_DEVLINK_RELOAD, /* DEVLINK_CMD_RELOAD */
        GUARD_EVENT_ETHTOOL_RESET,  /* ETHTOOL_RESET */
        GUARD_EVENT_PORTS,          /* iopl(2) or ioperm(2), never refused */
        GUARD_EVENT_RELEASE,        /* the function `name` loses its driver, never refused */
        /* More of the network. */
        GUARD_EVENT_DEVLINK_ESWITCH,  /* DEVLINK_CMD_ESWITCH_SET */
        GUARD_EVENT_DEVLINK_FLASH,    /* DEVLINK_CMD_FLASH_UPDATE */
        GUARD_EVENT_DEVLINK_RECOVERY, /* DEVLINK_CMD_HEALTH_REPORTER_RECOVER */
        GUARD_EVENT_ETHTOOL_TEST,     /* ETHTOOL_TEST, offline */
} GuardEventKind;

typedef struct GuardEvent {
        unsigned int kind;
        unsigned int refused; /* 0: it passed */
        unsigned int pid;     /* of the process, in the initial namespace of processes */
        unsigned int uid;
        unsigned long long inode; /* of the file, where there is one */
        unsigned long long cgroup;
        char comm[16];
        char name[GUARD_MODULE_MAX];
} GuardEvent;
