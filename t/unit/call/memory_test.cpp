// How much memory there is: the least of the machine's and of what control groups allow, as files say it.

#include "call/memory.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.hpp"

using namespace owt;

namespace {

constexpr std::size_t kib = 1024;

// A root with /proc and /sys.
class Root {
  public:
    Root() {
        char name[] = "/tmp/owt-memory-XXXXXX";
        path_ = ::mkdtemp(name);
        write("/proc/meminfo", "MemTotal:        1000 kB\nMemFree:           10 kB\n");
    }
    ~Root() { std::filesystem::remove_all(path_); }

    const std::string& path() const { return path_; }

    void write(const std::string& name, const std::string& text) {
        std::filesystem::path file = path_ + name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }

  private:
    std::string path_;
};

void the_machine_has_what_it_says(void**) {
    Root root;
    assert_int_equal(memory_there_is(root.path()), 1000 * kib);
    root.write("/proc/self/cgroup", "0::/\n");
    root.write("/sys/fs/cgroup/memory.max", "max\n");
    assert_int_equal(memory_there_is(root.path()), 1000 * kib);
}

void a_group_and_those_it_lies_in_have_limits(void**) {
    Root root;
    root.write("/proc/self/cgroup", "0::/system.slice/nginx.service\n");
    root.write("/sys/fs/cgroup/system.slice/nginx.service/memory.max", "800000\n");
    assert_int_equal(memory_there_is(root.path()), 800000);
    root.write("/sys/fs/cgroup/system.slice/memory.max", "700000\n");
    assert_int_equal(memory_there_is(root.path()), 700000);
    root.write("/sys/fs/cgroup/memory.max", "600000\n");
    assert_int_equal(memory_there_is(root.path()), 600000);
}

void version_1_has_them_elsewhere(void**) {
    Root root;
    root.write("/proc/self/cgroup", "3:cpu,cpuacct:/a\n2:hugetlb,memory:/docker/x\n0::/\n");
    root.write("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "500000\n");
    assert_int_equal(memory_there_is(root.path()), 500000);
    root.write("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(memory_there_is(root.path()), 1000 * kib);
}

void this_process_has_some(void**) {
    assert_true(resident_bytes() > 100 * kib);
    assert_true(memory_there_is() > resident_bytes());
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_has_what_it_says),
        cmocka_unit_test(a_group_and_those_it_lies_in_have_limits),
        cmocka_unit_test(version_1_has_them_elsewhere),
        cmocka_unit_test(this_process_has_some),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
