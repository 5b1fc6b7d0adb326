#include "call/memory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "call/fd.hpp"

namespace owt {

namespace {

constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

// The number in a file; no_limit where it has none ("max") or is not there.
std::size_t number_in(const std::string& path) {
    std::ifstream file(path);
    std::size_t number = 0;
    return file >> number ? number : no_limit;
}

// The least of those of a control group and of all in which it lies.
std::size_t least_limit(const std::string& mount, std::string group, const std::string& file) {
    std::size_t least = number_in(mount + "/" + file);  // in a container the group may be the mount itself
    while (!group.empty()) {
        std::string path = mount;
        least = std::min(least, number_in(path.append(group).append("/").append(file)));
        std::size_t slash = group.rfind('/');
        group.resize(slash == std::string::npos ? 0 : slash);
    }
    return least;
}

}  // namespace

std::size_t resident_bytes() {
    std::array<char, 128> text{};
    Fd statm(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
    if (!statm || ::read(statm.get(), text.data(), text.size() - 1) <= 0) {
        return 0;
    }
    char* rest = nullptr;
    std::strtoul(text.data(), &rest, 10);
    return std::strtoul(rest, nullptr, 10) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t memory_there_is(const std::string& root) {
    std::size_t least = no_limit;
    std::ifstream meminfo(root + "/proc/meminfo");
    for (std::string name; meminfo >> name;) {
        std::size_t kib = 0;
        if (name == "MemTotal:" && meminfo >> kib) {
            least = std::min(least, kib * 1024);
            break;
        }
    }
    // Each line is "number:controllers:group", of version 2 with neither number nor controllers (cgroups(7)).
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        std::size_t first = line.find(':');
        std::size_t second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) {
            continue;
        }
        std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        std::string group = line.substr(second + 1);
        if (controllers == ",,") {
            least = std::min(least, least_limit(root + "/sys/fs/cgroup", group, "memory.max"));
        } else if (controllers.find(",memory,") != std::string::npos) {
            least = std::min(least, least_limit(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
        }
    }
    return least;
}

}  // namespace owt
