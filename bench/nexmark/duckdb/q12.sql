-- Which window a bid falls into depends on when it was read; only each bidder's sum does not.
SELECT bidder, count(*) AS bid_count FROM bid GROUP BY bidder;
