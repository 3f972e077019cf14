#include "policy/vf-token.h"

#include "facts.h"

#include <criterion/criterion.h>

#define PF  "0000:01:00.0"
#define VF0 "0000:01:10.0"
#define VF1 "0000:01:10.2"

static Inventory *world;

static void set_up(void) {
        static const char *const vfs[] = { VF0, VF1, NULL };

        world = inventory_new();
        apply(world, facts_driver(facts_vf(VF0, PF), "vfio-pci"));
        apply(world, facts_driver(facts_vf(VF1, PF), "vfio-pci"));
        apply(world, facts_driver(facts_pf(PF, vfs), "vfio-pci"));
}

static void tear_down(void) {
        inventory_free(world);
}

TestSuite(vf_token, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        return inventory_get(world, key_of(address));
}

static void use(const char *address, bool brokered) {
        GPtrArray *users = user_list_new();
        User user = { .pid = 7,
                      .command = (char *) "",
                      .unit = (char *) "",
                      .machine = (char *) "",
                      .brokered = brokered };

        g_ptr_array_add(users, user_copy(&user));
        inventory_set_users(world, get(address), users);
}

static void leave(const char *address) {
        inventory_set_users(world, get(address), NULL);
}

Test(vf_token, is_a_random_uuid) {
        uint8_t bytes[16];
        VfToken token;

        memset(bytes, 0xff, sizeof(bytes));
        vf_token_format(bytes, &token);
        cr_assert_str_eq(token.text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        for (unsigned i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t) (i + 1);
        vf_token_format(bytes, &token);
        cr_assert_str_eq(token.text, "01020304-0506-4708-890a-0b0c0d0e0f10");
}

Test(vf_token, whose) {
        cr_assert_eq(vf_token_pf(get(VF0)), get(PF));
        cr_assert_eq(vf_token_pf(get(PF)), get(PF));
        apply(world, facts_driver(facts_pf(PF, (const char *const[]){ VF0, NULL }), "igb"));
        cr_assert_null(vf_token_pf(get(VF0)), "the host drives the PF");
        cr_assert_null(vf_token_pf(get(PF)));
        apply(world, facts_driver(facts_plain("0000:02:00.0"), "vfio-pci"));
        cr_assert_null(vf_token_pf(get("0000:02:00.0")));
}

static VfTokenStep step(bool imposed, bool doubtful, bool proven, bool for_pf) {
        return vf_token_step(get(PF), &(VfTokenFacts){ imposed, doubtful, proven, for_pf });
}

#define STEP(imposed, doubtful, for_pf) step(imposed, doubtful, false, for_pf)

Test(vf_token, imposed_while_all_is_free) {
        cr_assert_eq(STEP(false, false, false), VF_TOKEN_IMPOSE);
        cr_assert_eq(STEP(true, false, false), VF_TOKEN_HOLDS);
        cr_assert_eq(STEP(true, true, false), VF_TOKEN_IMPOSE);
        cr_assert_eq(STEP(true, true, true), VF_TOKEN_IMPOSE);
}

Test(vf_token, somebody_has_the_pf) {
        use(PF, false);
        cr_assert_eq(STEP(false, false, false), VF_TOKEN_PF_HELD);
        cr_assert_eq(STEP(true, true, false), VF_TOKEN_PF_HELD);
        cr_assert_eq(STEP(true, false, false), VF_TOKEN_HOLDS);
        /* A lease comes with our token. */
        use(PF, true);
        cr_assert_eq(STEP(true, true, false), VF_TOKEN_HOLDS);
        cr_assert_eq(STEP(false, false, false), VF_TOKEN_PF_HELD);
        leave(PF);
        cr_assert_eq(STEP(true, true, false), VF_TOKEN_IMPOSE);
}

Test(vf_token, somebody_has_a_vf) {
        use(VF1, false);
        cr_assert_eq(STEP(false, false, false), VF_TOKEN_VFS_HELD);
        cr_assert_eq(STEP(false, false, true), VF_TOKEN_VFS_HELD);
        cr_assert_eq(STEP(true, true, false), VF_TOKEN_VFS_HELD);
        cr_assert_eq(STEP(true, false, false), VF_TOKEN_HOLDS);
        /* With its device open our token is proven; with its group alone the PF can have it
         * anew. */
        use(VF1, true);
        cr_assert_eq(step(true, true, true, false), VF_TOKEN_HOLDS);
        cr_assert_eq(step(false, false, true, false), VF_TOKEN_VFS_HELD);
        cr_assert_eq(STEP(true, true, false), VF_TOKEN_IMPOSE);
        cr_assert_eq(STEP(false, false, false), VF_TOKEN_VFS_HELD, "they have another one");
        use(VF0, false);
        cr_assert_eq(STEP(true, true, false), VF_TOKEN_VFS_HELD);
}

Test(vf_token, the_host_drives_a_vf) {
        apply(world, facts_driver(facts_vf(VF1, PF), "igbvf"));
        cr_assert_eq(STEP(false, false, false), VF_TOKEN_VFS_DRIVEN);
        cr_assert_eq(STEP(false, false, true), VF_TOKEN_IMPOSE, "its user resets it anyway");
        cr_assert_eq(STEP(true, false, false), VF_TOKEN_HOLDS);
}
