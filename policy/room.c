#include "policy/room.h"

bool room_left(unsigned n, unsigned max, uint32_t uid) {
        return n < (uid == 0 ? max : max - ROOM_FOR_ROOT);
}
