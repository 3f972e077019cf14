#include "dbus/clients.h"

#include "daemon/base/log.h"
#include "dbus/message-size.h"

#include <glib.h>
#include <string.h>

/* Between two questions about one client. */
#define QUESTION_INTERVAL_USEC (10 * 1000ULL)

/* The limit of other unread answers of a client with a large one. */
#define BEFORE_LARGE_MAX (64U * 1024)

/* For a client to read what it was sent before. */
#define READ_TIMEOUT_USEC (5 * 1000 * 1000ULL)

typedef struct Client {
        Clients *clients;
        char *name;
        uint32_t uid;
        size_t unread;
        size_t large;      /* of `unread`, the last large answer */
        size_t sent_since; /* of `unread`, since the bus was asked */
        sd_bus_slot *question;
        uint64_t asked_usec;
        uint64_t known_usec; /* as of when the bus has said last what is unread */
        uint64_t large_usec; /* when a large answer was sent last */
} Client;

struct Clients {
        unsigned n_references;
        sd_bus *connection;
        sd_bus_message *reply; /* that sd-bus is making, or has just sent */
        GHashTable *table;     /* name, borrowed -> Client, owned */
        GHashTable *users;     /* uid -> the sum of `unread`, never 0 */
        size_t unread;         /* by all users but root */
        uint64_t asked_usec;   /* about all clients of users who are behind */
};

static void client_free(gpointer data) {
        Client *client = data;

        sd_bus_slot_unref(client->question);
        g_free(client->name);
        g_free(client);
}

Clients *clients_new(sd_bus *connection) {
        Clients *clients = g_new0(Clients, 1);

        clients->n_references = 1;
        clients->connection = connection;
        clients->table = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, client_free);
        clients->users = g_hash_table_new(NULL, NULL);
        return clients;
}

Clients *clients_ref(Clients *clients) {
        clients->n_references++;
        return clients;
}

void clients_unref(Clients *clients) {
        if (!clients || --clients->n_references > 0)
                return;
        clients_close(clients);
        g_hash_table_unref(clients->table);
        g_hash_table_unref(clients->users);
        g_free(clients);
}

void clients_close(Clients *clients) {
        clients->reply = sd_bus_message_unref(clients->reply);
        g_hash_table_remove_all(clients->table);
}

static size_t unread_of_user(const Clients *clients, uint32_t uid) {
        if (uid == CLIENTS_UID_UNKNOWN) /* is no user, and must not stop one that comes */
                return 0;
        return GPOINTER_TO_SIZE(g_hash_table_lookup(clients->users, GUINT_TO_POINTER(uid)));
}

static void set_unread(Client *client, size_t unread) {
        Clients *clients = client->clients;
        size_t sum = unread_of_user(clients, client->uid) - client->unread + unread;

        if (client->uid != 0)
                clients->unread += unread - client->unread;
        client->unread = unread;
        if (client->uid == CLIENTS_UID_UNKNOWN)
                return;
        if (sum > 0)
                g_hash_table_insert(clients->users, GUINT_TO_POINTER(client->uid),
                                    GSIZE_TO_POINTER(sum));
        else
                g_hash_table_remove(clients->users, GUINT_TO_POINTER(client->uid));
}

static Client *get_client(Clients *clients, const char *name, uint32_t uid) {
        Client *client = g_hash_table_lookup(clients->table, name);
        size_t unread;

        if (!client) {
                client = g_new0(Client, 1);
                client->clients = clients;
                client->name = g_strdup(name);
                client->uid = uid;
                g_hash_table_insert(clients->table, client->name, client);
        }
        if (client->uid != uid) { /* it was not known at first */
                unread = client->unread;
                set_unread(client, 0);
                client->uid = uid;
                set_unread(client, unread);
        }
        return client;
}

static void add_sent(Client *client, size_t bytes) {
        set_unread(client, client->unread + bytes);
        client->sent_since += bytes;
}

void clients_sent(Clients *clients, const char *name, uint32_t uid, size_t bytes) {
        add_sent(get_client(clients, name, uid), bytes);
}

/* Root may leave as much unread as they like, so that need not be measured. */
static Client *find_measured(const Clients *clients, const char *name) {
        Client *client = name ? g_hash_table_lookup(clients->table, name) : NULL;

        return client && client->uid != 0 ? client : NULL;
}

void clients_replied(Clients *clients, sd_bus_message *reply) {
        Client *client = find_measured(clients, sd_bus_message_get_destination(reply));

        if (client)
                add_sent(client, message_body_size(reply));
}

void clients_replied_error(Clients *clients, sd_bus_message *call, const sd_bus_error *error) {
        Client *client = find_measured(clients, sd_bus_message_get_sender(call));

        if (client && error->message)
                add_sent(client, strlen(error->message));
}

void clients_note_reply(Clients *clients) {
        sd_bus_message *reply = g_steal_pointer(&clients->reply);

        if (reply)
                clients_replied(clients, reply);
        sd_bus_message_unref(reply);
}

void clients_replying(Clients *clients, sd_bus_message *reply) {
        if (reply == clients->reply)
                return;
        clients_note_reply(clients);
        clients->reply = sd_bus_message_ref(reply);
}

void clients_sent_large(Clients *clients, const char *name, uint32_t uid, size_t bytes) {
        Client *client = get_client(clients, name, uid);

        clients_sent(clients, name, uid, bytes);
        client->large = bytes;
        client->large_usec = (uint64_t) g_get_monotonic_time();
}

void clients_forget(Clients *clients, const char *name) {
        Client *client = g_hash_table_lookup(clients->table, name);

        if (!client)
                return;
        set_unread(client, 0);
        g_hash_table_remove(clients->table, name);
}

/* Takes OutgoingBytes from the statistics; 0 if it is not there. */
static uint32_t read_outgoing_bytes(sd_bus_message *reply) {
        const char *name;
        uint32_t bytes = 0;
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                r = sd_bus_message_read(reply, "s", &name);
                if (r >= 0 && g_str_equal(name, "OutgoingBytes"))
                        r = sd_bus_message_read(reply, "v", "u", &bytes);
                else if (r >= 0)
                        r = sd_bus_message_skip(reply, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r < 0 ? 0 : bytes;
}

static int on_statistics(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Client *client = userdata;
        size_t held = 0;

        if (!sd_bus_message_is_method_error(reply, NULL))
                held = read_outgoing_bytes(reply);
        set_unread(client, held + client->sent_since);
        client->large = MIN(client->large, held);
        client->question = sd_bus_slot_unref(client->question);
        client->known_usec = client->asked_usec; /* the daemon may come late to the answer */
        return 0;
}

static void clients_ask(Client *client, uint64_t now_usec) {
        int r;

        if (client->question || now_usec < client->asked_usec + QUESTION_INTERVAL_USEC)
                return;
        client->asked_usec = now_usec;
        r = sd_bus_call_method_async(client->clients->connection, &client->question,
                                     "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus.Debug.Stats", "GetConnectionStats",
                                     on_statistics, client, "s", client->name);
        if (r < 0)
                log_warning("Failed to ask the bus what %s has not read: %s", client->name,
                            g_strerror(-r));
        else
                client->sent_since = 0;
}

/* The limit of unread bytes of a user. */
static size_t user_max(const Clients *clients) {
        return clients->unread > CLIENTS_ALL_MAX ? CLIENTS_UID_MAX / 8 : CLIENTS_UID_MAX;
}

/* Asks about all clients of all users who have much unread. */
static void ask_users(Clients *clients, uint64_t now_usec) {
        GHashTableIter iter;
        Client *client;

        if (now_usec < clients->asked_usec + QUESTION_INTERVAL_USEC)
                return;
        clients->asked_usec = now_usec;
        g_hash_table_iter_init(&iter, clients->table);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &client))
                if (client->unread > 0 &&
                    unread_of_user(clients, client->uid) > user_max(clients) / 2)
                        clients_ask(client, now_usec);
}

static ClientState clients_compare(size_t unread, size_t most) {
        if (unread <= most)
                return CLIENT_READS;
        return unread <= 2 * most ? CLIENT_IS_BEHIND : CLIENT_IS_FAR_BEHIND;
}

ClientState clients_state(Clients *clients, const char *name, uint32_t uid, uint64_t now_usec) {
        Client *client = g_hash_table_lookup(clients->table, name);
        size_t of_user = unread_of_user(clients, uid);
        size_t small = client ? client->unread - client->large : 0;

        if (of_user > user_max(clients) / 2)
                ask_users(clients, now_usec);
        else if (small > CLIENTS_CLIENT_MAX / 4)
                clients_ask(client, now_usec);
        return MAX(clients_compare(of_user, user_max(clients)),
                   clients_compare(small, CLIENTS_CLIENT_MAX));
}

bool clients_can_take_large(Clients *clients, const char *name, uint32_t uid, uint64_t now_usec) {
        Client *client = g_hash_table_lookup(clients->table, name);

        if (unread_of_user(clients, uid) > user_max(clients)) {
                ask_users(clients, now_usec);
                return false;
        }
        if (client && client->unread > BEFORE_LARGE_MAX) {
                clients_ask(client, now_usec);
                return false;
        }
        return true;
}

bool clients_is_late(const Clients *clients, const char *name, uint32_t uid, uint64_t since_usec,
                     uint64_t now_usec) {
        const Client *client = g_hash_table_lookup(clients->table, name);
        uint64_t deadline = MAX(since_usec, client ? client->large_usec : 0) + READ_TIMEOUT_USEC;

        if (now_usec <= deadline)
                return false;
        return unread_of_user(clients, uid) > user_max(clients) ||
               (client && client->unread > BEFORE_LARGE_MAX && client->known_usec > deadline);
}
