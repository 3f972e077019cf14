#include "daemon/broker/vf-tokens.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/broker/records.h"
#include "daemon/broker/vfio-open.h"
#include "daemon/sysfs/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/* Below what a client waits, with time left to open what it asked for. */
#define IMPOSE_TIMEOUT_USEC (15 * 1000 * 1000ULL)

typedef struct Waiter {
        VfTokenImposed *done;
        void *context;
} Waiter;

typedef struct Entry {
        VfTokens *tokens;
        PciKey key;
        uint64_t inode, binding; /* of the PF that was given it, and of its driver's link */
        uint64_t number;         /* counts up, never used again */
        int memory;              /* has the token */
        bool imposed, doubtful;
        bool adopted;           /* nobody has asked since the daemon was started */
        VfioOpen *open;         /* while it is being imposed ... */
        uint64_t n_impositions; /* ... for the so-many-th time */
        sd_event_source *timer;
        GArray *waiters; /* of Waiter */
} Entry;

struct VfTokens {
        sd_event *event;
        Spawner *spawner;
        Children *children;
        Inventory *inventory;
        FdStore *store;
        const VfTokensHandler *handler;
        void *context;
        GHashTable *entries; /* key in Entry -> Entry, owned */
        uint64_t next_number;
};

/* The name of its memory in systemd's store. */
static char *fd_name(uint64_t number) {
        return g_strdup_printf("vf-token-%" PRIu64, number);
}

static void token_entry_free(gpointer data) {
        Entry *entry = data;

        sd_event_source_disable_unref(entry->timer);
        vfio_open_free(entry->open);
        closep(&entry->memory);
        g_array_unref(entry->waiters);
        g_free(entry);
}

VfTokens *vf_tokens_new(sd_event *event, Spawner *spawner, Children *children, Inventory *inventory,
                        FdStore *store, const VfTokensHandler *handler, void *context) {
        VfTokens *tokens = g_new0(VfTokens, 1);

        tokens->event = sd_event_ref(event);
        tokens->spawner = spawner;
        tokens->children = children;
        tokens->inventory = inventory;
        tokens->store = store;
        tokens->handler = handler;
        tokens->context = context;
        tokens->entries =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, token_entry_free);
        tokens->next_number = 1;
        return tokens;
}

/* Tells all who wait. Their handlers may begin anew. */
static void tell_token(Entry *entry, int result, const char *message) {
        g_autoptr(GArray) waiters = entry->waiters;
        const VfTokens *tokens = entry->tokens;

        entry->timer = sd_event_source_disable_unref(entry->timer);
        entry->open = vfio_open_free(entry->open);
        entry->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
        tokens->handler->changed(tokens->context, entry->key);
        for (guint i = 0; i < waiters->len; i++) {
                const Waiter *waiter = &g_array_index(waiters, Waiter, i);

                waiter->done(waiter->context, result, message);
        }
}

VfTokens *vf_tokens_free(VfTokens *tokens) {
        if (!tokens)
                return NULL;
        g_hash_table_unref(tokens->entries);
        sd_event_unref(tokens->event);
        g_free(tokens);
        return NULL;
}

void vf_tokens_end_calls(VfTokens *tokens, const char *why) {
        GHashTableIter iter;
        Entry *entry;

        g_hash_table_iter_init(&iter, tokens->entries);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &entry))
                tell_token(entry, -ECANCELED, why);
}

static Entry *find(const VfTokens *tokens, PciKey key) {
        return g_hash_table_lookup(tokens->entries, &key);
}

/* Whether the token is of this binding: it belongs to what vfio-pci made for the PF when it was
 * bound (vfio_pci_vf_init()). Returns 1, 0 or a negative errno. */
static int is_same(const Entry *entry, const Function *pf) {
        uint64_t binding;
        int r = sysfs_read_binding(function_address(pf), &binding);

        return r < 0 ? r : entry->inode == pf->facts.inode && entry->binding == binding;
}

/* What the open VFs show of the token. While one is, the kernel keeps it. */
typedef struct OpenVfs {
        bool any, ours, others; /* one of them has a lease, whose client got our token; ... */
} OpenVfs;

static OpenVfs look_at_vfs(const VfTokens *tokens, const Function *pf) {
        OpenVfs open = { 0 };

        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];

                if (!tokens->handler->is_open(tokens->context, vf->facts.key))
                        continue;
                open.any = true;
                if (function_is_brokered(vf))
                        open.ours = true;
                else
                        open.others = true;
        }
        return open;
}

VfTokenStep vf_tokens_step(VfTokens *tokens, const Function *pf, bool for_pf) {
        Entry *entry = find(tokens, pf->facts.key);
        OpenVfs open;

        if (entry && entry->open)
                return VF_TOKEN_IMPOSE;
        open = look_at_vfs(tokens, pf);
        /* A VF that was open when the last daemon ended, and is still, kept the token as it was. */
        if (entry && entry->adopted && open.any)
                entry->doubtful = false;
        if (entry)
                entry->adopted = false;
        return vf_token_step(pf,
                             &(VfTokenFacts){
                                     .imposed = entry && entry->imposed && is_same(entry, pf) > 0,
                                     .doubtful = entry && entry->doubtful,
                                     .proven = open.ours,
                                     .for_pf = for_pf,
                             });
}

/* Memory that nobody changes any more, with a token in it. */
static int make_memory(void) {
        _cleanup_(closep) int memory = -1;
        uint8_t random[16];
        VfToken token;
        ssize_t n;

        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                return -EIO;
        vf_token_format(random, &token);
        explicit_bzero(random, sizeof(random));
        memory = memfd_create("vfwarden-vf-token", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (memory < 0)
                return -errno;
        n = pwrite(memory, token.text, sizeof(token.text), 0);
        explicit_bzero(&token, sizeof(token));
        if (n != sizeof(token.text))
                return -EIO;
        if (fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
            0)
                return -errno;
        return take_fd(&memory);
}

static int read_token(const Entry *entry, VfToken *ret) {
        VfToken token;

        if (pread(entry->memory, token.text, sizeof(token.text), 0) != sizeof(token.text) ||
            memchr(token.text, '\0', sizeof(token.text)) != token.text + sizeof(token.text) - 1)
                return -EIO;
        *ret = token;
        explicit_bzero(&token, sizeof(token));
        return 0;
}

int vf_tokens_get(const VfTokens *tokens, PciKey pf, VfToken *ret) {
        const Entry *entry = find(tokens, pf);

        return entry ? read_token(entry, ret) : -ENOENT;
}

static Entry *add_token(VfTokens *tokens, PciKey key, uint64_t number, int *memory) {
        Entry *entry = g_new0(Entry, 1);

        entry->tokens = tokens;
        entry->key = key;
        entry->number = number;
        entry->memory = take_fd(memory);
        entry->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
        g_hash_table_replace(tokens->entries, &entry->key, entry);
        return entry;
}

static void forget(Entry *entry) {
        VfTokens *tokens = entry->tokens;
        g_autofree char *name = fd_name(entry->number);
        PciKey key = entry->key;

        fd_store_drop(tokens->store, name);
        g_hash_table_remove(tokens->entries, &key);
        tokens->handler->changed(tokens->context, key);
}

/* Another device, or another driver's turn with it, gets a token of its own: who knew the last is
 * nobody's concern. */
static int find_or_make(VfTokens *tokens, const Function *pf, Entry **ret) {
        Entry *entry = find(tokens, pf->facts.key);
        g_autofree char *name = NULL;
        _cleanup_(closep) int memory = -1;
        uint64_t binding;
        int r = sysfs_read_binding(function_address(pf), &binding);

        if (r < 0)
                return r;
        if (entry && (entry->inode != pf->facts.inode || entry->binding != binding)) {
                forget(entry);
                entry = NULL;
        }
        if (!entry) {
                memory = make_memory();
                if (memory < 0)
                        return memory;
                name = fd_name(tokens->next_number);
                r = fd_store_keep(tokens->store, name, memory);
                if (r < 0)
                        return r;
                entry = add_token(tokens, pf->facts.key, tokens->next_number++, &memory);
                entry->inode = pf->facts.inode;
                entry->binding = binding;
        }
        *ret = entry;
        return 0;
}

/* The result, while the users are looked at: the entry may go, or begin anew. */
typedef struct Imposition {
        VfTokens *tokens;
        PciKey key;
        uint64_t number, n_impositions;
        int result;
        char *step;
} Imposition;

static void end_imposition(Entry *entry, int result, const char *step) {
        const VfTokens *tokens = entry->tokens;
        const Function *pf = inventory_get(tokens->inventory, entry->key);
        PciAddress address = pci_address_from_key(entry->key);
        g_autofree char *message = NULL;

        if (result >= 0 && pf) {
                result = is_same(entry, pf);
                step = "the link to its driver cannot be read";
        }
        if (!pf || result == 0) {
                tell_token(entry, -ENODEV,
                           "the physical function has gone, or was bound anew, meanwhile");
                return;
        }
        if (result < 0) {
                message = g_strdup_printf(
                        "the physical function cannot be opened with a VF token: %s: %s", step,
                        g_strerror(-result));
                tell_token(entry, result == -EBUSY ? -EBUSY : -EIO, message);
                return;
        }
        entry->imposed = true;
        entry->doubtful = false;
        log_full(LOG_INFO, &address, NULL, "has a VF token of ours");
        tell_token(entry, 0, NULL);
}

static void on_users_known(void *context, int result) {
        g_autofree Imposition *imposition = context;
        g_autofree char *step = imposition->step;
        Entry *entry = find(imposition->tokens, imposition->key);

        if (entry && entry->number == imposition->number && entry->open &&
            entry->n_impositions == imposition->n_impositions)
                end_imposition(entry, imposition->result, step);
}

static void on_imposed(void *context, int result, const char *step) {
        const Entry *entry = context;
        const VfTokens *tokens = entry->tokens;
        Imposition *imposition = g_new(Imposition, 1);

        *imposition = (Imposition){
                .tokens = entry->tokens,
                .key = entry->key,
                .number = entry->number,
                .n_impositions = entry->n_impositions,
                .result = result,
                .step = g_strdup(step),
        };
        /* As long as it counts as being done: our own process is no user, nor its close a reason to
         * doubt. */
        tokens->handler->refresh(tokens->context, entry->key, on_users_known, imposition);
}

static int on_token_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        tell_token(userdata, -ETIMEDOUT, "the physical function was not opened in time");
        return 0;
}

static int start_setting(Entry *entry, const Function *pf) {
        VfTokens *tokens = entry->tokens;
        VfToken token;
        int r;

        r = read_token(entry, &token);
        if (r >= 0)
                r = wakeup_new_deadline(tokens->event, "vf-tokens: opening of a PF",
                                        IMPOSE_TIMEOUT_USEC, 0, on_token_timeout, entry,
                                        &entry->timer);
        if (r >= 0)
                r = vfio_open_impose(&(VfioOpenFor){ .spawner = tokens->spawner,
                                                     .children = tokens->children,
                                                     .key = entry->key,
                                                     .uid = CHILDREN_NOBODY },
                                     pf, &token, on_imposed, entry, &entry->open);
        explicit_bzero(&token, sizeof(token));
        entry->n_impositions++;
        if (r < 0)
                entry->timer = sd_event_source_disable_unref(entry->timer);
        return r;
}

int vf_tokens_impose(VfTokens *tokens, const Function *pf, VfTokenImposed *done, void *context) {
        const Waiter waiter = { done, context };
        Entry *entry;
        int r;

        r = find_or_make(tokens, pf, &entry);
        if (r >= 0 && !entry->open)
                r = start_setting(entry, pf);
        if (r < 0)
                return r;
        g_array_append_val(entry->waiters, waiter);
        tokens->handler->changed(tokens->context, entry->key);
        return 0;
}

void vf_tokens_pf_used(VfTokens *tokens, const Function *pf) {
        Entry *entry = find(tokens, pf->facts.key);
        OpenVfs open;

        if (!entry || entry->open)
                return;
        open = look_at_vfs(tokens, pf);
        if (!open.ours || open.others)
                entry->doubtful = true;
}

void vf_tokens_node_closed(VfTokens *tokens, const char *name) {
        GHashTableIter iter;
        Entry *entry;

        g_hash_table_iter_init(&iter, tokens->entries);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &entry)) {
                const Function *pf = inventory_get(tokens->inventory, entry->key);

                if (pf && tokens->handler->is_node_of(tokens->context, entry->key, name))
                        vf_tokens_pf_used(tokens, pf);
        }
}

void vf_tokens_closes_missed(VfTokens *tokens) {
        GHashTableIter iter;
        Entry *entry;

        g_hash_table_iter_init(&iter, tokens->entries);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &entry))
                entry->doubtful = true;
}

bool vf_tokens_imposing(const VfTokens *tokens, PciKey pf) {
        const Entry *entry = find(tokens, pf);

        return entry && entry->open;
}

void vf_tokens_function_gone(VfTokens *tokens, PciKey key) {
        Entry *entry = find(tokens, key);

        if (!entry)
                return;
        tell_token(entry, -ENODEV, "the physical function has gone meanwhile");
        forget(entry);
}

void vf_tokens_record(const VfTokens *tokens, GArray *records) {
        GHashTableIter iter;
        const Entry *entry;

        g_hash_table_iter_init(&iter, tokens->entries);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &entry)) {
                StateVfToken record = {
                        .number = entry->number,
                        .key = entry->key,
                        .inode = entry->inode,
                        .binding = entry->binding,
                        .imposed = entry->imposed,
                };

                g_array_append_val(records, record);
        }
}

void vf_tokens_adopt(VfTokens *tokens, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateVfToken *record = &g_array_index(records, StateVfToken, i);
                g_autofree char *name = fd_name(record->number);
                _cleanup_(closep) int memory = fd_store_take(tokens->store, name);
                Entry *entry;

                tokens->next_number = MAX(tokens->next_number, record->number + 1);
                if (memory < 0)
                        continue;
                entry = add_token(tokens, record->key, record->number, &memory);
                entry->inode = record->inode;
                entry->binding = record->binding;
                entry->imposed = record->imposed;
                /* Somebody may have opened the PF meanwhile. */
                entry->doubtful = entry->adopted = true;
        }
}
