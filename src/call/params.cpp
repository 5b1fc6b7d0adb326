#include "call/params.hpp"

namespace owt {

std::string no_code_text() {
    return "No code came with this request. Send Python source as the form field code, as a member "
           "code of a JSON object, or base64 of it as code_b64 in the query, for example:\n"
           "curl localhost:9876 -F code=@hello.py\n"
           "curl localhost:9876 --form-string 'code=def run(): return \"Hello\"'";
}

}  // namespace owt
