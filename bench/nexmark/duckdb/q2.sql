-- Selection: a filter that few bids pass.
SELECT auction, price
FROM bid
WHERE auction % 123 = 0;
