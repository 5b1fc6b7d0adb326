// Which heads no client may get to see, and that heads which share their fields do not change each other.

#include "call/head.hpp"

#include "check.hpp"

using namespace owt;

namespace {

void a_head_is_looked_at(void**) {
    assert_false(complain({200, {{"X-Name", "a value\twith tab, \xc3\xa4"}}}).has_value());
    assert_true(complain({199, {}}).has_value());
    assert_true(complain({600, {}}).has_value());
    assert_true(complain({200, {{"", "x"}}}).has_value());
    assert_true(complain({200, {{"Bad Name", "x"}}}).has_value());
    assert_true(complain({200, {{"Colon:", "x"}}}).has_value());
    assert_true(complain({200, {{"Name", "a\r\nSet-Cookie: b"}}}).has_value());
    assert_true(complain({200, {{"Name", std::string("a\0b", 3)}}}).has_value());
    assert_true(complain({200, {{"Name", "a\x7f"}}}).has_value());
}

void what_is_added_to_a_copy_is_its_own(void**) {
    Head first{200, {{"A", "1"}}};
    Head second = first;
    assert_ptr_equal(first.headers.begin(), second.headers.begin());
    second.headers.push_back({"B", "2"});
    assert_int_equal(first.headers.size(), 1);
    assert_int_equal(second.headers.size(), 2);
    assert_string_equal(second.headers[0].value.c_str(), "1");
    assert_string_equal(second.headers[1].name.c_str(), "B");
    Head none;
    assert_true(none.headers.begin() == none.headers.end());
    none.headers.push_back({"C", "3"});
    assert_int_equal(none.headers.size(), 1);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(a_head_is_looked_at),
                                cmocka_unit_test(what_is_added_to_a_copy_is_its_own)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
