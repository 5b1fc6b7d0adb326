// Small questions about text.

#include "call/text.hpp"

#include <string>
#include <string_view>

#include "check.hpp"

using namespace owt;

namespace {

struct Line {
    std::string_view given;
    std::string_view shown;
};

void lines_that_a_terminal_may_show(void**) {
    using namespace std::string_view_literals;
    const Line lines[] = {
        {"", ""},
        {"plain, tab\there", "plain, tab\there"},
        {"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"},
        {"a\0b"sv, "a\\x00b"},
        {"\a\b\v\f\r\x7f", "\\x07\\x08\\x0b\\x0c\\x0d\\x7f"},
        {"\xc2\x9b"
         "2J",
         "\\x9b2J"},
        {"\xc2\x80\xc2\x9f\xc2\xa0", "\\x80\\x9f\xc2\xa0"},
        {"caf\xc3\xa9 \xe2\x82\xac", "caf\xc3\xa9 \xe2\x82\xac"},
        {"cut \xc2", "cut \xc2"},
        {"\\x1b", "\\x1b"},
    };
    for (const Line& line : lines) {
        expect(escaped(line.given) == line.shown, line.given, escaped(line.given));
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(lines_that_a_terminal_may_show)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
