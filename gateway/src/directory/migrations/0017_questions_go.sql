-- What is asked every half minute: which questions, and words about them, have had their time.
CREATE INDEX confirmations_by_end ON confirmations (expires_ms);
CREATE INDEX approvals_by_time ON approvals (created_ms);
-- Which sessions a program holds is known of those that begin from now on. The others end: people sign in once more.
UPDATE refresh_tokens SET state = 'ended';
