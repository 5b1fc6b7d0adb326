-- Calls morse.py in the current directory: runghc call.hs [URL [TEXT]], with Debian's libghc-http-client-dev.
{-# LANGUAGE OverloadedStrings #-}

import Control.Monad (unless)
import qualified Data.ByteString as B
import qualified Data.Text as T
import Data.Text.Encoding (encodeUtf8)
import Network.HTTP.Client
import System.Environment (getArgs)
import System.IO (stdout)

main :: IO ()
main = do
  arguments <- getArgs
  let url : text : _ = arguments ++ drop (length arguments) ["http://localhost:9876", "owt"]
  code <- B.readFile "morse.py"
  request <- urlEncodedBody [("code", code), ("text", encodeUtf8 (T.pack text))] <$> parseUrlThrow url
  -- The first call of a model may take its time.
  manager <- newManager defaultManagerSettings {managerResponseTimeout = responseTimeoutNone}
  withResponse request manager (copy . responseBody)
  where
    copy body = do
      chunk <- brRead body
      unless (B.null chunk) (B.hPut stdout chunk >> copy body)
