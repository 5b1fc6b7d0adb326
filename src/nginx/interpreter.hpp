// A Python that instances run. While the configuration is read its interpreter is asked which it is, and where its
// library and its bridge are: what is missing is told then, with what to do about it.

#pragma once

#include <sys/types.h>

#include <map>
#include <string>

namespace owt {

struct Interpreter {
    std::string executable;
    std::string program;  // what that leads to; empty for the one that owt was built with
    std::string version;  // "3.11.2"
    std::string prefix;   // sys.prefix
    std::string soabi;    // what extension modules are built for, as "cpython-311-x86_64-linux-gnu"
    std::string library;  // libpython
    std::string bridge;
};

// As whom an interpreter is run. A virtualenv may belong to whom calls run as, and what lies in it is not to be run by
// root.
struct User {
    uid_t uid = static_cast<uid_t>(-1);  // this process's
    gid_t gid = static_cast<gid_t>(-1);
    std::string name;
};

// Those that one reading of the configuration has found. Each is asked once.
class Interpreters {
  public:
    explicit Interpreters(User user) : user_(std::move(user)) {}

    // Of the Python in this directory; empty: of the one that owt was built with. Throws std::runtime_error: what is
    // wrong, and what to do.
    const Interpreter& in(const std::string& home);

  private:
    User user_;
    std::map<std::string, Interpreter> known_;
};

// What the package lies in, and the bridges that no Python has installed.
const std::string& own_directory();

}  // namespace owt
