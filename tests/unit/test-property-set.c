#include "policy/property-set.h"

#include <criterion/criterion.h>

Test(property_set, each_property_is_a_member_of_its_own) {
        for (FunctionProperty one = 0; one < _FUNCTION_PROPERTY_MAX; one++) {
                PropertySet set = { 0 };

                cr_assert(property_set_is_empty(&set));
                property_set_add(&set, one);
                cr_assert_not(property_set_is_empty(&set));
                for (FunctionProperty other = 0; other < _FUNCTION_PROPERTY_MAX; other++)
                        cr_assert_eq(property_set_has(&set, other), other == one, "%d, %d", one,
                                     other);
                property_set_remove(&set, one);
                cr_assert(property_set_is_empty(&set));
        }
}

/* A bit for each, however many there are. */
Test(property_set, has_room_for_all) {
        PropertySet set = { 0 };

        cr_assert_geq(sizeof(set) * 8, _FUNCTION_PROPERTY_MAX);
        for (FunctionProperty one = 0; one < _FUNCTION_PROPERTY_MAX; one++)
                property_set_add(&set, one);
        for (FunctionProperty one = 0; one < _FUNCTION_PROPERTY_MAX; one++)
                property_set_remove(&set, one);
        cr_assert(property_set_is_empty(&set));
}
