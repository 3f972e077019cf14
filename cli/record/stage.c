#include "cli/record/stage.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/record/recording.h"

#include <errno.h>
#include <string.h>

#define FUNCTIONS CLIENT_ROOT "/function"

/* --- values */

/* Numbers of people and processes are of type u in the contract, all others that are served of
 * type t. */
static const char *number_type(const char *member) {
        static const char *const small[] = {
                "pid",    "uid",        "session-pid",    "session-uid",
                "more",   "others",     "FunctionCount",  "Sessions",
                "Leases", "Inhibitors", "FunctionsInUse", "FunctionsLocked",
                NULL
        };

        return g_strv_contains(small, member) ? "u" : "t";
}

/* A basic value in a variant; others are left out. */
static int append_variant(sd_bus_message *reply, const char *member, JsonNode *node) {
        GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;
        gint64 number;

        if (type == G_TYPE_STRING)
                return sd_bus_message_append(reply, "{sv}", member, "s",
                                             json_node_get_string(node));
        if (type == G_TYPE_BOOLEAN)
                return sd_bus_message_append(reply, "{sv}", member, "b",
                                             (int) json_node_get_boolean(node));
        if (type != G_TYPE_INT64)
                return 0;
        number = json_node_get_int(node);
        if (*number_type(member) == 'u')
                return sd_bus_message_append(reply, "{sv}", member, "u", (uint32_t) number);
        return sd_bus_message_append(reply, "{sv}", member, "t", (uint64_t) number);
}

static int append_members(sd_bus_message *reply, JsonObject *object) {
        g_autoptr(GList) names = json_object_get_members(object);
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");

        for (const GList *name = names; r >= 0 && name; name = name->next)
                r = append_variant(reply, name->data, json_object_get_member(object, name->data));
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* aa{sv}: those objects of the document whose member "address" is `address`, or all with "". */
static int append_list(sd_bus_message *reply, JsonNode *document, const char *address) {
        JsonArray *list = JSON_NODE_HOLDS_ARRAY(document) ? json_node_get_array(document) : NULL;
        int r = sd_bus_message_open_container(reply, 'a', "a{sv}");

        for (guint i = 0; r >= 0 && list && i < json_array_get_length(list); i++) {
                JsonNode *node = json_array_get_element(list, i);
                JsonObject *object =
                        JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;

                if (object &&
                    (!*address || g_str_equal(function_string(object, "address"), address)))
                        r = append_members(reply, object);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static JsonNode *document_of(const Stage *stage, const char *name) {
        return g_hash_table_lookup(stage->documents, name);
}

/* --- the calls that only read */

static int answer_describe(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                           sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", stage->text);
}

static bool knows(const Stage *stage, const char *address) {
        JsonNode *facts = document_of(stage, RECORDING_FACTS);

        return json_object_has_member(json_node_get_object(facts), address);
}

static int answer_get_function(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                               sd_bus_error *error) {
        g_autofree char *path = NULL;
        const char *address;
        int r = sd_bus_message_read(call, "s", &address);

        if (r < 0)
                return r;
        if (!knows(stage, address))
                return sd_bus_error_setf(error, CLIENT_BUS_NAME ".Error.NoSuchFunction",
                                         "There is no PCI function %s in the recording", address);
        r = sd_bus_path_encode(FUNCTIONS, address, &path);
        return r < 0 ? r : sd_bus_message_append(reply, "o", path);
}

static int answer_users(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                        sd_bus_error *error) {
        const char *address;
        int r = sd_bus_message_read(call, "s", &address);

        return r < 0 ? r : append_list(reply, document_of(stage, RECORDING_USERS), address);
}

static int answer_uses(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                       sd_bus_error *error) {
        const char *address;
        int r = sd_bus_message_read(call, "s", &address);

        return r < 0 ? r : append_list(reply, document_of(stage, RECORDING_USES), address);
}

static int answer_inhibitors(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                             sd_bus_error *error) {
        return append_list(reply, document_of(stage, RECORDING_INHIBITORS), "");
}

static int answer_activity(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                           sd_bus_error *error) {
        return append_list(reply, document_of(stage, RECORDING_ACTIVITY), "");
}

static int answer_counters(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                           sd_bus_error *error) {
        const char *interface;
        int r = sd_bus_message_read(call, "s", &interface);

        if (r < 0)
                return r;
        if (!g_str_equal(interface, CLIENT_STATISTICS))
                return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_INTERFACE,
                                         "The recording has no properties of %s", interface);
        return append_members(reply, json_node_get_object(document_of(stage, RECORDING_COUNTERS)));
}

/* [kind, subject, reason, pid] */
static int append_blocker(sd_bus_message *reply, JsonNode *node) {
        JsonArray *blocker = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
        const char *texts[3];

        if (!blocker || json_array_get_length(blocker) != 4)
                return 0;
        for (guint i = 0; i < 4; i++) {
                JsonNode *element = json_array_get_element(blocker, i);
                GType type = JSON_NODE_HOLDS_VALUE(element) ? json_node_get_value_type(element)
                                                            : G_TYPE_INVALID;

                if (type != (i < 3 ? G_TYPE_STRING : G_TYPE_INT64))
                        return 0;
                if (i < 3)
                        texts[i] = json_node_get_string(element);
        }
        return sd_bus_message_append(reply, "(sssu)", texts[0], texts[1], texts[2],
                                     (uint32_t) json_array_get_int_element(blocker, 3));
}

static int append_warning(sd_bus_message *reply, JsonNode *node) {
        if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
                return 0;
        return sd_bus_message_append(reply, "s", json_node_get_string(node));
}

static int append_each(sd_bus_message *reply, JsonNode *list, const char *type,
                       int (*append)(sd_bus_message *reply, JsonNode *node)) {
        JsonArray *array = JSON_NODE_HOLDS_ARRAY(list) ? json_node_get_array(list) : NULL;
        int r = sd_bus_message_open_container(reply, 'a', type);

        for (guint i = 0; r >= 0 && array && i < json_array_get_length(array); i++)
                r = append(reply, json_array_get_element(array, i));
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int answer_check(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                        sd_bus_error *error) {
        const char *address, *operation;
        JsonObject *answers;
        JsonArray *answer;
        int r = sd_bus_message_read(call, "ss", &address, &operation);

        if (r < 0)
                return r;
        answers = function_object(json_node_get_object(document_of(stage, RECORDING_CHECKS)),
                                  address);
        answer = answers ? function_array(answers, operation) : NULL;
        if (!answer || json_array_get_length(answer) != 3 ||
            json_node_get_value_type(json_array_get_element(answer, 0)) != G_TYPE_BOOLEAN)
                return sd_bus_error_setf(error, CLIENT_BUS_NAME ".Error.NotSupported",
                                         "The recording has no answer for %s of %s", operation,
                                         address);
        r = sd_bus_message_append(reply, "b", (int) json_array_get_boolean_element(answer, 0));
        if (r >= 0)
                r = append_each(reply, json_array_get_element(answer, 1), "(sssu)", append_blocker);
        return r < 0 ? r
                     : append_each(reply, json_array_get_element(answer, 2), "s", append_warning);
}

typedef struct StageCall {
        const char *interface, *member, *types;
        int (*answer)(const Stage *stage, sd_bus_message *call, sd_bus_message *reply,
                      sd_bus_error *error);
} StageCall;

static const StageCall stage_calls[] = {
        { CLIENT_MANAGER, "Describe", "", answer_describe },
        { CLIENT_MANAGER, "GetFunction", "s", answer_get_function },
        { CLIENT_MANAGER, "DescribeUsers", "s", answer_users },
        { CLIENT_MANAGER, "DescribeUses", "s", answer_uses },
        { CLIENT_MANAGER, "DescribeInhibitors", "", answer_inhibitors },
        { CLIENT_MANAGER, "Check", "ss", answer_check },
        { CLIENT_STATISTICS, "DescribeFunctions", "", answer_activity },
        { "org.freedesktop.DBus.Properties", "GetAll", "s", answer_counters },
};

static const StageCall *find_call(sd_bus_message *call) {
        for (size_t i = 0; i < G_N_ELEMENTS(stage_calls); i++)
                if (sd_bus_message_is_method_call(call, stage_calls[i].interface,
                                                  stage_calls[i].member) &&
                    sd_bus_message_has_signature(call, stage_calls[i].types))
                        return &stage_calls[i];
        return NULL;
}

static int on_stage_call(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        const StageCall *known = find_call(call);
        g_autoptr(sd_bus_message) reply = NULL;
        int r;

        if (!known)
                return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
                                        "This is a recording, which can only be read");
        r = sd_bus_message_new_method_return(call, &reply);
        if (r >= 0)
                r = known->answer(userdata, call, reply, error);
        return r < 0 ? r : sd_bus_message_send(reply);
}

int stage_open(const Stage *stage, sd_bus *bus) {
        int r = sd_bus_add_fallback(bus, NULL, CLIENT_ROOT, on_stage_call, (void *) stage);

        return r < 0 ? r : sd_bus_request_name(bus, CLIENT_BUS_NAME, 0);
}

int stage_serve(sd_bus *bus) {
        int r = 0;

        while (r >= 0) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
        }
        return r;
}

/* --- the recording */

typedef struct StageDocument {
        const char *name;
        bool is_array;
} StageDocument;

static const StageDocument stage_documents[] = {
        { RECORDING_ABOUT, false },   { RECORDING_PICTURE, false },  { RECORDING_USERS, true },
        { RECORDING_USES, true },     { RECORDING_CHECKS, false },   { RECORDING_INHIBITORS, true },
        { RECORDING_ACTIVITY, true }, { RECORDING_COUNTERS, false }, { RECORDING_FACTS, false },
};

static bool take_document(Stage *stage, GHashTable *members, const StageDocument *document) {
        GBytes *bytes = g_hash_table_lookup(members, document->name);
        JsonNode *node = bytes ? recording_parse(bytes) : NULL;

        if (!node)
                return false;
        g_hash_table_insert(stage->documents, (char *) document->name, node);
        return document->is_array ? JSON_NODE_HOLDS_ARRAY(node) : JSON_NODE_HOLDS_OBJECT(node);
}

static void free_node(gpointer node) {
        json_node_free(node);
}

int stage_init(Stage *stage, GHashTable *members, char **ret_wrong) {
        JsonObject *about;

        *stage = (Stage){ .documents =
                                  g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_node) };
        *ret_wrong = NULL;
        for (size_t i = 0; i < G_N_ELEMENTS(stage_documents); i++)
                if (!take_document(stage, members, &stage_documents[i])) {
                        *ret_wrong = g_strdup(stage_documents[i].name);
                        return -EBADMSG;
                }
        about = json_node_get_object(document_of(stage, RECORDING_ABOUT));
        if (function_integer(about, "Format", 0) != RECORDING_FORMAT)
                return -EBADMSG;
        stage->text = json_to_string(document_of(stage, RECORDING_PICTURE), FALSE);
        return 0;
}

void stage_done(Stage *stage) {
        g_clear_pointer(&stage->documents, g_hash_table_unref);
        g_clear_pointer(&stage->text, g_free);
}
