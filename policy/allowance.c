#include "policy/allowance.h"

typedef struct Balance {
        unsigned points;
        uint64_t since_usec; /* until then time was turned into points */
} Balance;

struct Allowance {
        GHashTable *balances; /* uid -> Balance, owned; others have ALLOWANCE_MAX */
};

Allowance *allowance_new(void) {
        Allowance *allowance = g_new(Allowance, 1);

        allowance->balances = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        return allowance;
}

Allowance *allowance_free(Allowance *allowance) {
        if (!allowance)
                return NULL;
        g_hash_table_unref(allowance->balances);
        g_free(allowance);
        return NULL;
}

static Balance *find_balance(Allowance *allowance, uint32_t uid, uint64_t now_usec) {
        Balance *balance = g_hash_table_lookup(allowance->balances, GUINT_TO_POINTER(uid));

        if (!balance) {
                balance = g_new(Balance, 1);
                *balance = (Balance){ ALLOWANCE_MAX, now_usec };
                g_hash_table_insert(allowance->balances, GUINT_TO_POINTER(uid), balance);
        }
        return balance;
}

static void refill(Balance *balance, uint64_t now_usec) {
        uint64_t msec =
                now_usec > balance->since_usec ? (now_usec - balance->since_usec) / 1000 : 0;

        if (msec >= ALLOWANCE_MAX / ALLOWANCE_PER_MSEC) {
                *balance = (Balance){ ALLOWANCE_MAX, now_usec };
                return;
        }
        balance->points =
                MIN(balance->points + (unsigned) msec * ALLOWANCE_PER_MSEC, ALLOWANCE_MAX);
        balance->since_usec += msec * 1000;
}

bool allowance_take(Allowance *allowance, uint32_t uid, unsigned points, uint64_t now_usec) {
        Balance *balance = find_balance(allowance, uid, now_usec);

        refill(balance, now_usec);
        if (balance->points < points)
                return false;
        balance->points -= points;
        return true;
}

void allowance_reset(Allowance *allowance) {
        g_hash_table_remove_all(allowance->balances);
}
