// Which traces are taken for one, and which values are ignored (W3C Trace Context, 2.2).

#include "call/trace.hpp"

#include <string>

#include "check.hpp"

using namespace owt;
using namespace std::literals;

namespace {

const std::string id = "4bf92f3577b34da6a3ce929d0e0e4736";
const std::string sound = "00-" + id + "-00f067aa0ba902b7-01";

void what_is_a_trace(void**) {
    const std::string traces[] = {sound, "00-" + id + "-00f067aa0ba902b7-00", "cc-" + id + "-00f067aa0ba902b7-01",
                                  "cc-" + id + "-00f067aa0ba902b7-01-what-comes"};
    for (const std::string& one : traces) {
        expect(trace_id_in(one) == id, one, trace_id_in(one));
    }
    const std::string none[] = {"",
                                "00",
                                sound + "-",
                                sound + "-more",
                                sound + " ",
                                " " + sound,
                                "ff" + sound.substr(2),
                                "0" + sound,
                                "cc" + sound.substr(2) + ".what",
                                sound.substr(0, 54),
                                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                "00-" + id + "-00f067aa0ba902b7-0x",
                                "00-" + id + "_00f067aa0ba902b7-01",
                                "00-" + std::string(32, '0') + "-00f067aa0ba902b7-01",
                                "00-" + id + "-" + std::string(16, '0') + "-01",
                                sound + "," + sound};
    for (const std::string& one : none) {
        expect(trace_id_in(one).empty(), one, trace_id_in(one));
    }
}

void a_call_says_it_once(void**) {
    std::string environ = "REQUEST_METHOD\0GET\0HTTP_TRACEPARENT\0"s + sound + "\0A\0\0"s;
    assert_true(trace_id_of(environ) == id);
    assert_true(trace_id_of(environ + "HTTP_TRACEPARENT\0"s + sound + "\0"s).empty());
    assert_true(trace_id_of("A\0HTTP_TRACEPARENT\0"s).empty());
    assert_true(trace_id_of("").empty());
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(what_is_a_trace), cmocka_unit_test(a_call_says_it_once)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
