#include "nginx/landlock.hpp"

#include <fcntl.h>
#include <glob.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "call/call.hpp"

// Newer than Debian 12's header.
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

namespace owt {

namespace {

// Of the rights that Landlock knows, those that change something. Which of them exist depends on the ABI's version.
__u64 write_rights(int abi) {
    __u64 rights = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                   LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                   LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                   LANDLOCK_ACCESS_FS_MAKE_SYM;
    if (abi >= 2) {
        rights |= LANDLOCK_ACCESS_FS_REFER;  // renaming from one directory to another
    }
    if (abi >= 3) {
        rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
    }
    return rights;
}

constexpr __u64 file_rights = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE;

int abi_version() {
    return static_cast<int>(::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
}

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

bool exists(const std::string& path) {
    return ::access(path.c_str(), F_OK) == 0;
}

void allow(const Fd& ruleset, const std::string& path, __u64 rights) {
    Fd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat status {};
    if (!place || ::fstat(place.get(), &status) != 0) {
        fail("\"writable\": open() of \"" + path + "\" failed");
    }
    landlock_path_beneath_attr rule{};
    rule.allowed_access = S_ISDIR(status.st_mode) ? rights : rights & file_rights;
    rule.parent_fd = place.get();
    if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
        fail("\"writable\": landlock_add_rule() for \"" + path + "\" failed");
    }
}

}  // namespace

std::optional<std::string> landlock_missing() {
    if (abi_version() >= 1) {
        return std::nullopt;
    }
    std::string reason = std::string("this kernel offers no Landlock (") + std::strerror(errno) + ")";
    if (errno == EOPNOTSUPP) {
        return reason + ": it is built in but not enabled, add landlock to the boot parameter lsm=";
    }
    return reason + ": Linux 5.13 or later has it, if built with CONFIG_SECURITY_LANDLOCK";
}

void write_only_below(const std::vector<std::string>& directories, const std::vector<std::string>& files) {
    __u64 rights = write_rights(abi_version());
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = rights;
    Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
    if (!ruleset) {
        fail("\"writable\": landlock_create_ruleset() failed");
    }
    for (const std::string& directory : directories) {
        allow(ruleset, directory, rights);
    }
    for (const std::string& file : files) {
        if (exists(file)) {
            allow(ruleset, file, rights);
        }
    }
    // Without this only root may restrict itself. It also ends setuid in children: sudo does not work there.
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        fail("\"writable\": prctl(PR_SET_NO_NEW_PRIVS) failed");
    }
    if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
        fail("\"writable\": landlock_restrict_self() failed");
    }
}

std::vector<std::string> usual_devices() {
    std::vector<std::string> devices = {"/dev/null", "/dev/zero",        "/dev/full", "/dev/random", "/dev/urandom",
                                        "/dev/tty",  "/dev/ptmx",        "/dev/pts",  "/dev/shm",    "/dev/dri",
                                        "/dev/kfd",  "/dev/nvidia-caps", "/proc/self"};
    glob_t found{};
    if (::glob("/dev/nvidia*", 0, nullptr, &found) == 0) {
        devices.insert(devices.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
    }
    ::globfree(&found);
    return devices;
}

}  // namespace owt
