SELECT item_id, began, title, type, sites
FROM titles
WHERE began >= :start AND began < :end AND sites <> ''
ORDER BY began, item_id
