#include "daemon/manager/io-requests.h"

#include "daemon/base/config.h"
#include "daemon/broker/sessions.h"
#include "daemon/broker/single-requests.h"
#include "daemon/manager/function-users.h"
#include "daemon/sysfs/msi-source.h"
#include "policy/check.h"
#include "policy/counters.h"
#include "policy/device-dma.h"
#include "policy/zpci-request.h"

#include <errno.h>
#include <string.h>

/* The evidence is the source's, for Function.msi is of functions with MSI-X only. */
static const char *refuse_dma(const PartContext *parts, const Function *function) {
        g_auto(MsiEvidence) evidence = { 0 };

        msi_source_evidence(part_find(parts, msi_source_part), function->facts.key, &evidence);
        return device_dma_refusal(&evidence);
}

/* What kind of access there is to be decides about the MSI-X table and the MSIs. */
static char *refuse_access(const PartContext *parts, const Function *function, bool dma) {
        char address[PCI_ADDRESS_STRING_MAX];
        const char *why;

        if (function->emulated)
                return NULL;
        pci_address_format(function_address(function), address);
        why = dma ? refuse_dma(parts, function) : NULL;
        if (why)
                return g_strdup_printf("%s may do no DMA for a client: %s", address, why);
        /* vfwarden-io stores to no MSI-X table it knows of, and a function may have other ways to
         * its vectors. With DMA a device can send what MSIs are anyway, so the table protects
         * nothing that the IOMMU does not. */
        if (dma || !function->facts.msix.present ||
            parts->host->config(parts->host_context)->allow_msix)
                return NULL;
        return g_strdup_printf(
                "%s has MSI-X, and I/O sessions with such functions are not allowed (AllowMsix= in vfwarden.conf)",
                address);
}

/* Why the function can have no session now; NULL when it can. Free with g_free(). */
static char *refusal(const PartContext *parts, const Function *function, bool dma) {
        char address[PCI_ADDRESS_STRING_MAX], *text;
        g_autoptr(Verdict) verdict = NULL;

        pci_address_format(function_address(function), address);
        if (!function_has_vfio_driver(function) && !function->emulated)
                return g_strdup_printf(
                        "%s is bound to %s, not to a VFIO driver: `vfwarden bind %s vfio-pci` gives it to one",
                        address,
                        function->facts.driver[0] != '\0' ? function->facts.driver : "no driver",
                        address);
        text = refuse_access(parts, function, dma);
        if (text)
                return text;
        verdict = check(parts->inventory, function, OPERATION_OPEN,
                        function->emulated ? CHECK_EMULATED : 0);
        return verdict_allowed(verdict) ? children_refusal(parts->children, function->facts.key)
                                        : verdict_message(verdict);
}

/* A call that waits for a session, or for one access. */
typedef struct IoCall {
        Apply *apply;
        PciKey key;
        ManagerSessionOpened *opened;
        ManagerAccessed *accessed;
        void *context;
} IoCall;

static void on_io_requests_opened(void *context, int result, const char *message, int client,
                                  const IoSession *session) {
        g_autofree IoCall *call = context;
        g_autofree char *text = NULL;
        int r = 0;

        /* The session is published, and known to a later daemon, before the client gets it. */
        if (result >= 0)
                r = apply_related(call->apply,
                                  inventory_get(apply_context(call->apply)->inventory, call->key));
        if (r < 0) {
                /* It ends when the client's end of its socket is closed, which nobody gets. */
                text = state_keeper_describe_failure(apply_state(call->apply), r);
                call->opened(call->context, -EIO, text, -1, NULL);
                return;
        }
        if (result >= 0)
                apply_context(call->apply)->counters->sessions_opened++;
        call->opened(call->context, result, message, client, session);
}

static const char *io_requests_result_text(int result) {
        switch (result) {
        case -EDQUOT:
                return "this user, or all users, have too many I/O sessions, or too much memory mapped for them";
        case -EBUSY:
                return "another I/O session is being opened";
        case -EINVAL:
                return "the option 'listener' is no listening stream socket of the Unix domain";
        default:
                return g_strerror(-result);
        }
}

static SessionRequest make_request(const Function *function, const ManagerIo *io) {
        return (SessionRequest){
                .uid = io->uid,
                .pid = io->pid,
                .max_mapped = io->max_mapped,
                .emulated = function->emulated,
                .dma = io->dma,
                .listener = io->listener,
        };
}

static void on_accessed(void *context, int result, const char *message, const IoReport *report) {
        g_autofree IoCall *call = context;
        size_t length = report ? MIN(report->length, sizeof(report->data)) : 0;

        if (report && result == -EINVAL)
                message = zpci_violation_to_string(report->violation);
        call->accessed(call->context, result, message, report ? report->data : NULL, length);
}

/* Somebody who wants a session, or one access, while the users are looked at. */
typedef struct IoRequest {
        Apply *apply;
        ManagerIo io;
        IoOrder *order; /* NULL: a session */
        ManagerSessionOpened *opened;
        ManagerAccessed *accessed;
        void *context;
} IoRequest;

static void open_session(const IoRequest *request, Function *function) {
        Apply *apply = request->apply;
        const PartContext *parts = apply_context(apply);
        SessionRequest session = make_request(function, &request->io);
        IoCall *call = g_new0(IoCall, 1);
        int r;

        call->apply = apply;
        call->key = function->facts.key;
        call->opened = request->opened;
        call->context = request->context;
        r = sessions_open(part_find(parts, sessions_part), function,
                          parts->host->config(parts->host_context), &session, on_io_requests_opened,
                          call);
        if (r < 0)
                on_io_requests_opened(call, r, io_requests_result_text(r), -1, NULL);
}

static void access_now(const IoRequest *request, Function *function) {
        Apply *apply = request->apply;
        const PartContext *parts = apply_context(apply);
        SessionRequest session = make_request(function, &request->io);
        IoCall *call = g_new0(IoCall, 1);
        int r;

        call->accessed = request->accessed;
        call->context = request->context;
        r = single_requests_serve(part_find(parts, sessions_part), function,
                                  parts->host->config(parts->host_context), &session,
                                  request->order, on_accessed, call);
        if (r < 0)
                on_accessed(call, r, io_requests_result_text(r), NULL);
}

static void io_requests_refuse(const IoRequest *request, int result, const char *message) {
        if (request->order)
                request->accessed(request->context, result, message, NULL, 0);
        else
                request->opened(request->context, result, message, -1, NULL);
}

static void on_io_requests_users_known(void *context, Function *function, int result,
                                       const char *message) {
        g_autofree IoRequest *request = context;
        g_autofree IoOrder *order = request->order;
        g_autofree char *text = NULL;

        if (result < 0) {
                io_requests_refuse(request, result, message);
                return;
        }
        text = refusal(apply_context(request->apply), function, request->io.dma);
        if (text)
                io_requests_refuse(request, -ECONNREFUSED, text);
        else if (order)
                access_now(request, function);
        else
                open_session(request, function);
}

/* Users need not be looked for where a process of ours idle: nobody else can have it open. */
static void io_requests_begin(IoRequest *request, Function *function) {
        const PartContext *parts = apply_context(request->apply);

        if (single_requests_has_idle(part_find(parts, sessions_part), function, request->io.uid))
                on_io_requests_users_known(request, function, 0, NULL);
        else
                function_users_refresh(parts, function, on_io_requests_users_known, request);
}

void io_requests_open_session(Apply *apply, Function *function, const ManagerIo *io,
                              ManagerSessionOpened *done, void *context) {
        IoRequest *request = g_new0(IoRequest, 1);

        *request = (IoRequest){ .apply = apply, .io = *io, .opened = done, .context = context };
        io_requests_begin(request, function);
}

void io_requests_let_go(Apply *apply, const Function *function, uint32_t uid, ManagerLetGo *done,
                        void *context) {
        const PartContext *parts = apply_context(apply);
        g_autoptr(GPtrArray) related = check_related(parts->inventory, function);

        single_requests_end_idle(part_find(parts, sessions_part), function, related, uid, done,
                                 context);
}

void io_requests_access(Apply *apply, Function *function, const ManagerIo *io,
                        const ManagerAccess *access, ManagerAccessed *done, void *context) {
        IoRequest *request = g_new0(IoRequest, 1);
        IoOrder *order = g_new0(IoOrder, 1);

        order->kind = access->data ? IO_STORE : IO_LOAD;
        order->pcias = access->pcias;
        order->offset = access->offset;
        order->length = access->length;
        if (access->data)
                memcpy(order->data, access->data, MIN(access->length, sizeof(order->data)));
        *request = (IoRequest){
                .apply = apply, .io = *io, .order = order, .accessed = done, .context = context
        };
        io_requests_begin(request, function);
}
