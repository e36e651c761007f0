-- What a pending call was when it was shown: a tool that is another one by now does not run it.
ALTER TABLE confirmations ADD COLUMN tool_digest TEXT NOT NULL DEFAULT '0000000000000000000000000000000000000000000000000000000000000000';
ALTER TABLE confirmations ADD COLUMN action_type TEXT NOT NULL DEFAULT 'destructive';
