-- How much room the dead letters take, in one row. Triggers keep it, because other processes drop dead letters too,
-- and counting them would read them all.
CREATE TABLE dead_letter_usage (
    letters INTEGER NOT NULL,
    bytes   INTEGER NOT NULL  -- about 150 for each beside what it says
) STRICT;
INSERT INTO dead_letter_usage
SELECT count(*), coalesce(sum(length(CAST(body AS BLOB)) + length(CAST(reason AS BLOB)) + 150), 0) FROM dead_letter;

CREATE TRIGGER dead_letter_put AFTER INSERT ON dead_letter BEGIN
    UPDATE dead_letter_usage
    SET letters = letters + 1,
        bytes = bytes + length(CAST(NEW.body AS BLOB)) + length(CAST(NEW.reason AS BLOB)) + 150;
END;
CREATE TRIGGER dead_letter_gone AFTER DELETE ON dead_letter BEGIN
    UPDATE dead_letter_usage
    SET letters = letters - 1,
        bytes = bytes - length(CAST(OLD.body AS BLOB)) - length(CAST(OLD.reason AS BLOB)) - 150;
END;
