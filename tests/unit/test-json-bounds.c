#include "daemon/base/files/json-bounds.h"

#include <criterion/criterion.h>
#include <glib.h>
#include <string.h>

static bool bounded(const char *text) {
        return json_is_bounded(text, strlen(text), 3, 6);
}

Test(json_bounds, depth) {
        cr_assert(bounded("[[[]]]"));
        cr_assert(bounded("{\"a\":[{}]}"));
        cr_assert(bounded("[[],[],[]]"));
        cr_assert_not(bounded("[[[["));
        cr_assert_not(bounded("{\"a\":[{\"b\":{}}]}"));
        cr_assert_not(bounded("]]]][[[["));
}

Test(json_bounds, values) {
        cr_assert(bounded("[1,2,3,4,5,6]"));
        cr_assert_not(bounded("[1,2,3,4,5,6,7]"));
        cr_assert_not(bounded("[],[],[],[]"));
}

Test(json_bounds, strings_hide_nothing) {
        cr_assert(bounded("[\"[[[[[[,,,,,,,\"]"));
        cr_assert(bounded("[\"\\\"[[[[[[\"]"));
        cr_assert_not(bounded("[\"\\\\\",[[[["));
        cr_assert_not(bounded("[\"a\"[[[["));
        cr_assert(bounded("[\"no end [[[["));
        cr_assert(bounded("[\"no end \\"));
}

/* json-glib takes these, and a bracket in them would not be counted right. */
Test(json_bounds, extensions_are_refused) {
        cr_assert_not(bounded("/*\"*/[]"));
        cr_assert_not(bounded("//\"\n[]"));
        cr_assert_not(bounded("#\"\n[]"));
        cr_assert_not(bounded("['\"']"));
        cr_assert_not(json_is_bounded("[\0]", 3, 3, 6));
        cr_assert_not(bounded("\xef\xbb\xbf[]"));
}
