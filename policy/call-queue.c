#include "policy/call-queue.h"

#include <errno.h>
#include <stdbool.h>

typedef struct Entry {
        char *client;
        void *call;
} Entry;

typedef struct User {
        uint32_t uid;
        GQueue entries; /* of Entry*, owned */
} User;

struct CallQueue {
        GQueue users; /* of User*, owned, none without entries; the first has the turn */
        unsigned count;
};

static Entry *call_queue_entry_new(const char *client, void *call) {
        Entry *entry = g_new(Entry, 1);

        *entry = (Entry){ g_strdup(client), call };
        return entry;
}

static void call_queue_entry_free(gpointer data) {
        Entry *entry = data;

        g_free(entry->client);
        g_free(entry);
}

static void user_free(gpointer data) {
        User *user = data;

        g_queue_clear_full(&user->entries, call_queue_entry_free);
        g_free(user);
}

CallQueue *call_queue_new(void) {
        CallQueue *queue = g_new0(CallQueue, 1);

        g_queue_init(&queue->users);
        return queue;
}

CallQueue *call_queue_free(CallQueue *queue) {
        if (!queue)
                return NULL;
        g_queue_clear_full(&queue->users, user_free);
        g_free(queue);
        return NULL;
}

unsigned call_queue_count(const CallQueue *queue) {
        return queue->count;
}

static User *call_queue_find_user(const CallQueue *queue, uint32_t uid) {
        for (GList *l = queue->users.head; l; l = l->next)
                if (((User *) l->data)->uid == uid)
                        return l->data;
        return NULL;
}

/* The newest user waits for all others. Root is the first for as long as it has calls. */
static User *call_queue_add_user(CallQueue *queue, uint32_t uid) {
        User *user = g_new0(User, 1);

        user->uid = uid;
        g_queue_init(&user->entries);
        if (uid == 0)
                g_queue_push_head(&queue->users, user);
        else
                g_queue_push_tail(&queue->users, user);
        return user;
}

static bool call_queue_has_room(const User *user, const char *client) {
        unsigned n = 0;

        if (user->entries.length >= (user->uid == 0 ? CALL_QUEUE_ROOT_MAX : CALL_QUEUE_UID_MAX))
                return false;
        if (user->uid == 0)
                return true;
        for (GList *l = user->entries.head; l; l = l->next)
                n += g_str_equal(((Entry *) l->data)->client, client);
        return n < CALL_QUEUE_CLIENT_MAX;
}

int call_queue_add(CallQueue *queue, uint32_t uid, const char *client, void *call) {
        User *user = call_queue_find_user(queue, uid);

        if (user && !call_queue_has_room(user, client))
                return -EDQUOT;
        if (!user)
                user = call_queue_add_user(queue, uid);
        g_queue_push_tail(&user->entries, call_queue_entry_new(client, call));
        queue->count++;
        return 0;
}

void *call_queue_next(CallQueue *queue, CallReady *ready, void *userdata) {
        for (GList *u = queue->users.head; u; u = u->next) {
                const User *user = u->data;

                for (GList *l = user->entries.head; l; l = l->next) {
                        const Entry *entry = l->data;

                        if (ready(userdata, entry->call))
                                return entry->call;
                }
        }
        return NULL;
}

static GList *find_entry(const User *user, const void *call) {
        for (GList *l = user->entries.head; l; l = l->next)
                if (((Entry *) l->data)->call == call)
                        return l;
        return NULL;
}

void call_queue_remove(CallQueue *queue, void *call) {
        for (GList *u = queue->users.head; u; u = u->next) {
                User *user = u->data;
                GList *l = find_entry(user, call);

                if (!l)
                        continue;
                call_queue_entry_free(l->data);
                g_queue_delete_link(&user->entries, l);
                queue->count--;
                if (user->entries.length == 0) {
                        user_free(user);
                        g_queue_delete_link(&queue->users, u);
                } else if (user->uid != 0) {
                        g_queue_unlink(&queue->users, u);
                        g_queue_push_tail_link(&queue->users, u);
                }
                return;
        }
}

void *call_queue_find(const CallQueue *queue, const char *client) {
        for (GList *u = queue->users.head; u; u = u->next)
                for (GList *l = ((User *) u->data)->entries.head; l; l = l->next)
                        if (g_str_equal(((Entry *) l->data)->client, client))
                                return ((Entry *) l->data)->call;
        return NULL;
}

void call_queue_foreach(const CallQueue *queue, GFunc visit, void *userdata) {
        for (GList *u = queue->users.head; u; u = u->next)
                for (GList *l = ((User *) u->data)->entries.head; l; l = l->next)
                        visit(((Entry *) l->data)->call, userdata);
}
