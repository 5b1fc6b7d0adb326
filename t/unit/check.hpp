// cmocka from C++, and what tables of cases need beside it.

#pragma once

#include <string_view>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// after the above
#include <cmocka.h>
}

// The first words say what was tried, so that a failure in a table can be found.
inline void expect(bool right, std::string_view tried, std::string_view got = "") {
    if (!right) {
        fail_msg("%.*s -> %.*s", int(tried.size()), tried.data(), int(got.size()), got.data());
    }
}
