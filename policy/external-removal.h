/* external-removal.h: functions that another program takes from their drivers, and what goes with
 * them.
 *
 * Pure. The kernel removes the `driver` link first and waits for the users then, so a function with
 * a user and without a driver is being removed. A process in the middle of a write to a file that
 * does such a thing shows who removes it, and how far the removal goes. Without such a process the
 * kernel itself removes it, because somebody pressed the slot's button or a hypervisor wants the
 * device back. */
#pragma once

#include "policy/inventory.h"
#include "policy/operation.h"

/* A process that has such a file open for writing. */
typedef struct RemovalWriter {
        uint32_t pid;
        Operation operation; /* what writing to the file does: unbind, remove, set-num-vfs or
                                power-off */
        char *path;          /* of the file, as external_removal_path() cuts it */
} RemovalWriter;

void removal_writer_free(RemovalWriter *writer);

/* The part of a path that is the same in every mount of sysfs, from "/devices/" or "/bus/pci/" on:
 * who looks from outside sees the files of other mount namespaces with another beginning, or none.
 * NULL when it has none. */
const char *external_removal_path(const char *path);

/* The operation that a write to the file performs, or -EINVAL when it is no such file. `path` as
 * external_removal_path() cut it. */
Operation external_removal_file_operation(const char *path);

/* Stands for a path where a process is in the middle of delete_module(2). */
#define EXTERNAL_REMOVAL_OF_MODULE "/module"

/* Where a function is, as external_removal_path() cuts it. */
typedef struct RemovalPlace {
        const char *function; /* its directory */
        const char *pf;       /* its PF's; NULL without */
        const char *power;    /* of its slot; NULL without */
        bool driver_leaves;   /* the module of its PF's last driver is being unloaded */
        uint32_t remover;     /* the process that took it from its driver, 0: not known exactly */
} RemovalPlace;

typedef struct RemovalFinding {
        Operation operation;
        uint32_t pid;      /* 0: the kernel itself */
        Function *subject; /* whom the operation is done to */
        GRefString
                *driver; /* that leaves with its module, borrowed; NULL: something else happens */
        bool takes_subject; /* it goes, and not only its VFs or its driver */
        bool takes_vfs;     /* all VFs of it go ... */
        bool takes_slot;    /* ... and all else that is in the slot */
        bool takes_below;   /* all that is below it goes */
} RemovalFinding;

/* Whether the function is held and has lost its driver, and nothing that we do, or know of already,
 * explains it. */
bool external_removal_suspects(const Function *function);

/* Whether the function has a user and no driver, for whatever reason. */
bool external_removal_is_stuck(const Function *function);

/* The operation on `function`, which hangs. `writers` is of RemovalWriter*. Where the remover is
 * known exactly, the writers show only what it does. */
RemovalFinding external_removal_judge(Function *function, const RemovalPlace *place,
                                      const GPtrArray *writers);

/* All functions that go with what was found (borrowed Function*): the function that is stuck first,
 * VFs before their PF. Free with g_ptr_array_unref(). */
GPtrArray *external_removal_affected(const Inventory *inventory, Function *function,
                                     const RemovalFinding *finding);
