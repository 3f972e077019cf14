/* qmp-dialog.h: what is said to a VMM so that its guest releases a device.
 *
 * Owns the words of QEMU's protocol for that (docs/interop/qmp-spec.rst): a greeting,
 * qmp_capabilities, device_del, and the event DEVICE_DELETED. Reads and writes nothing by itself.
 * Always holds: a dialog that is done, or has failed, says nothing more. */
#pragma once

#include <glib.h>

typedef enum QmpStep {
        QMP_STEP_WAIT,   /* for the next line */
        QMP_STEP_SEND,   /* words, and wait */
        QMP_STEP_DONE,   /* the VMM has no such device any more */
        QMP_STEP_FAILED, /* the device stays, or this is no VMM; the words say why */
} QmpStep;

typedef enum QmpState {
        QMP_GREETING,
        QMP_CAPABILITIES,
        QMP_DELETE,
        QMP_DELETED,
        QMP_ENDED,
} QmpState;

typedef struct QmpDialog {
        const char *device; /* its id; borrowed */
        QmpState state;
} QmpDialog;

/* Takes a line of the VMM's. `ret_words` gets what is to be sent, with the line's end, or why it
 * failed; else NULL. It is the caller's. */
QmpStep qmp_dialog_next(QmpDialog *dialog, const char *line, char **ret_words);
