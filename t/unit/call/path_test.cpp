// The path that an adaptor sees: the client's slashes, but never another path than nginx's.

#include "call/path.hpp"

#include <string>

#include "check.hpp"

using namespace owt;

namespace {

void paths(void**) {
    struct {
        const char* target;
        const char* uri;
        const char* path;
    } cases[] = {
        {"/", "/", "/"},
        {"/a/b", "/a/b", "/a/b"},
        {"/a//b", "/a/b", "/a//b"},
        {"//a", "/a", "//a"},
        {"/a/////", "/a/", "/a/////"},
        {"/a%2F%2fb", "/a/b", "/a//b"},
        {"/a%2Fb?x=//y", "/a/b", "/a/b"},
        {"/a//b?c//d", "/a/b", "/a//b"},
        {"/a%252F//b", "/a%2F/b", "/a%2F//b"},
        {"/a%zz//%", "/a%zz/%", "/a%zz//%"},
        {"/a%2//%f", "/a%2/%f", "/a%2//%f"},
        {"/a+b//c", "/a+b/c", "/a+b//c"},
        {"/%C3%A4//b", "/\xc3\xa4/b", "/\xc3\xa4//b"},
        // Here nginx has done more than that.
        {"/a/../b//c", "/b/c", "/b/c"},
        {"/a//..//b", "/b", "/b"},
        {"/a/./b", "/a/b", "/a/b"},
        {"/a//b#c", "/a/b", "/a/b"},
        {"/a//b", "/other", "/other"},
        {"/a//b", "/a//b", "/a//b"},
        {"/a/b", "/a//b", "/a//b"},
        {"", "/", "/"},
        {"*", "*", "*"},
    };
    for (auto [target, uri, path] : cases) {
        std::string got = path_for_adaptor(target, uri);
        expect(got == path, target, got);
    }
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(paths)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
