#include "call/params.hpp"

namespace owt {

std::string no_code_text(std::string_view server) {
    std::string curl("curl ");
    curl.append(server);
    return "No code came with this request. Send Python source as the form field code, as a member "
           "code of a JSON object, or base64 of it as code_b64 in the query, for example:\n" +
           curl + " -F code=@hello.py\n" + curl + " --form-string 'code=def run(): return \"Hello\"'";
}

}  // namespace owt
